#include "ctl/commands/commands.h"

namespace xzfs {
namespace {

constexpr CommandEntry kCommands[] = {
    {"pack", "Compresses plain files in place, as a mount would.",
     "  xzfsctl pack --older-than 30d --exclude '*.db' /srv/logs.xz", MakePackCommand},
    {"unpack", "Makes compressed files plain again, in place.",
     "  xzfsctl unpack /srv/logs.xz/2019", MakeUnpackCommand},
    {"reblock", "Makes .xz files seekable, or changes their preset or Check.",
     "  xzfsctl reblock --block-size 4MiB disk.img.xz", MakeReblockCommand},
    {"verify", "Decodes and checks all compressed files.", "  xzfsctl verify --json /srv/logs.xz",
     MakeVerifyCommand},
    {"salvage", "Writes what can be read of a damaged .xz file, and says what is missing.",
     "  xzfsctl salvage disk.img.xz -o disk.img", MakeSalvageCommand},
    {"list", "Shows what compressed files hold and how seekable they are.",
     "  xzfsctl list -v disk.img.xz", MakeListCommand},
    {"cat", "Writes a part of a compressed file to stdout.",
     "  xzfsctl cat --offset 10GiB --length 1MiB disk.img.xz > part", MakeCatCommand},
    {"du", "Shows what directories take, plain and on the disk.", "  xzfsctl du -d 2 /srv/logs.xz",
     MakeDuCommand},
    {"info", "Shows what is known of a file, a directory or a mount.",
     "  xzfsctl info /mnt/logs/syslog", MakeInfoCommand},
    {"stats", "Shows what mounts have done since they were mounted.",
     "  xzfsctl stats /srv/logs\n"
     "  xzfsctl stats --prometheus -o /var/lib/prometheus/node-exporter/xzfs.prom",
     MakeStatsCommand},
    {"top", "Shows what a mount is doing, once a second.", "  xzfsctl top /srv/logs",
     MakeTopCommand},
    {"report", "Writes a page that shows where the space is and what to do about it.",
     "  xzfsctl report /srv/logs -o logs.html", MakeReportCommand},
    {"bench", "Measures what each preset and Block size would save and cost on your data.",
     "  xzfsctl bench /srv/logs.xz", MakeBenchCommand},
    {"doctor", "Looks for what keeps xzfs from working, and says what to do about it.",
     "  xzfsctl doctor /srv/logs.xz", MakeDoctorCommand},
    {"set", "Shows and changes options of a mount while it runs.",
     "  xzfsctl set /srv/logs cache_size=1GiB preset=9", MakeSetCommand},
    {"sync", "Compresses all that is pending in mounts, and waits for it.",
     "  xzfsctl sync /srv/logs", MakeSyncCommand},
    {"drop-cache", "Drops what mounts have decoded, and the kernel's pages of it.",
     "  xzfsctl drop-cache /srv/logs", MakeDropCacheCommand},
    {"umount", "Unmounts.", "  xzfsctl umount --wait /srv/logs", MakeUmountCommand},
};

}  // namespace

std::span<const CommandEntry> Commands() { return kCommands; }

const CommandEntry* FindCommand(std::string_view name) {
  for (const CommandEntry& entry : kCommands) {
    if (entry.name == name) {
      return &entry;
    }
  }
  return nullptr;
}

}  // namespace xzfs
