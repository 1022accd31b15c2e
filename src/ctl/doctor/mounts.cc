// The mount table says which mounts there are. Each is then asked for its figures, as a Question,
// because its daemon may hang. What needs attention in the figures becomes findings. Of several
// mounts on one mountpoint only the last can be asked.
#include "ctl/doctor/mounts.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>

#include "base/try.h"
#include "base/units.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/mounts/question.h"

namespace xzfs {
namespace {

using Level = Finding::Level;

Result<Json> Ask(const std::string& path) {
  XZFS_ASSIGN_OR_RETURN(const MountClient mount, MountClient::Open(path));
  return mount.Stats();
}

uint64_t CountAt(const Json& stats, const std::string& pointer) {
  return static_cast<uint64_t>(std::max(0.0, NumberAt(stats, pointer)));
}

// The figures of a mount that answers, each as a finding if it needs attention.
class LivingMount {
 public:
  LivingMount(const MountEntry& mount, const Json& stats) : mount_(mount), stats_(stats) {}

  Findings Look() {
    LookAtCommits();
    LookAtDamage();
    LookAtNames();
    LookAtProgram();
    const uint64_t used = CountAt(stats_, "/budget/used_bytes");
    const uint64_t bytes = CountAt(stats_, "/budget/total_bytes");
    findings_.insert(findings_.begin(),
                     {Level::kOk, mount_.mountpoint,
                      fmt::format("answers; shows {}; uses {} of {} of memory", mount_.source,
                                  FormatSize(used), FormatSize(bytes)),
                      ""});
    return std::move(findings_);
  }

 private:
  void Add(Level level, std::string text, std::string command) {
    findings_.push_back({level, mount_.mountpoint, std::move(text), std::move(command)});
  }

  void LookAtCommits() {
    const uint64_t pending = CountAt(stats_, "/commits/pending");
    const uint64_t given_up = CountAt(stats_, "/commits/given_up");
    const Json commits = stats_.value("commits", Json::object());
    const Json uncommitted = commits.value("uncommitted", Json::array());
    if (!uncommitted.empty() && uncommitted.front().is_object()) {
      const Json& first = uncommitted.front();
      Add(Level::kWarning,
          Count(std::max<uint64_t>(given_up, uncommitted.size()), "file") +
              " could not be compressed, the first is " + first.value("path", "") + ": " +
              first.value("reason", ""),
          "xzfsctl stats " + mount_.mountpoint);
    } else if (pending != 0) {
      Add(Level::kNote,
          Count(pending, "file") + (pending == 1 ? " waits" : " wait") + " to be compressed, " +
              FormatSize(CountAt(stats_, "/commits/pending_bytes")),
          "xzfsctl sync " + mount_.mountpoint);
    }
    if (const uint64_t failed = CountAt(stats_, "/commits/syncs_failed"); failed != 0) {
      Add(Level::kProblem,
          Count(failed, "file") +
              " could not be synced, so a power cut may lose them; look for errors of "
              "the disk",
          "journalctl -k -p err");
    }
    if (const uint64_t lost = CountAt(stats_, "/commits/overlays_lost"); lost != 0) {
      Add(Level::kWarning,
          "changes of " + Count(lost, "file") +
              " belong to no file any more, because another program replaced the file",
          "ls " + mount_.source + "/.xzfs/lost+found");
    }
  }

  void LookAtDamage() {
    const uint64_t blocks = CountAt(stats_, "/damaged/blocks");
    const uint64_t files = CountAt(stats_, "/damaged/files");
    if (blocks + files != 0) {
      Add(Level::kProblem,
          fmt::format("found damaged data: {} Blocks, and {} whose Index can't be read", blocks,
                      Count(files, "file")),
          "xzfsctl verify " + mount_.source);
    }
  }

  void LookAtNames() {
    if (const uint64_t names = CountAt(stats_, "/name_collisions"); names != 0) {
      Add(Level::kNote,
          fmt::format("{} stored names want a name in the mount that another file has", names),
          "journalctl -t xzfs");
    }
  }

  // An upgrade replaces the program, and the daemon goes on with the old one.
  void LookAtProgram() {
    const std::string link = "/proc/" + std::to_string(CountAt(stats_, "/pid")) + "/exe";
    char program[4096] = {};
    const ssize_t length = readlink(link.c_str(), program, sizeof program - 1);
    const std::string_view path(program, static_cast<size_t>(std::max<ssize_t>(length, 0)));
    if (path.find("xzfs") != std::string_view::npos && path.ends_with(" (deleted)")) {
      Add(Level::kNote,
          "its daemon runs a version that was replaced since; mount it again to run the new one",
          "xzfsctl umount --wait " + mount_.mountpoint);
    }
  }

  const MountEntry& mount_;
  const Json& stats_;
  Findings findings_;
};

Finding WhyNoAnswer(const MountEntry& mount, int code, const std::string& message) {
  if (code == ENOTCONN) {
    return {Level::kProblem, mount.mountpoint,
            "its daemon is gone; the next mount goes on with what it left",
            "xzfsctl umount " + mount.mountpoint};
  }
  if (code == EACCES) {
    return {Level::kNote, mount.mountpoint,
            fmt::format("belongs to the user {}, and only that user may look into it", mount.user),
            fmt::format("sudo -u '#{}' xzfsctl doctor", mount.user)};
  }
  return {Level::kProblem, mount.mountpoint, "does not tell its figures: " + message,
          "journalctl -t xzfs"};
}

Findings LookAtMount(const MountEntry& mount, std::chrono::milliseconds patience) {
  const auto answer = Question([&mount] { return Ask(mount.mountpoint); }).WaitFor(patience);
  if (!answer) {
    return {{Level::kProblem, mount.mountpoint,
             "does not answer: its daemon hangs, is stopped, or waits for the source's disk",
             "ps -C xzfs -o pid,stat,wchan:32,args"}};
  }
  const Result<Json>& stats = *answer;
  if (stats) {
    return LivingMount(mount, *stats).Look();
  }
  return {WhyNoAnswer(mount, stats.error().code, stats.error().message)};
}

}  // namespace

Findings LookAtMounts(const std::vector<MountEntry>& mounts, std::chrono::milliseconds patience) {
  Findings findings;
  for (auto mount = mounts.begin(); mount != mounts.end(); ++mount) {
    if (!mount->is_xzfs()) {
      continue;
    }
    const bool is_covered = std::any_of(mount + 1, mounts.end(), [&](const MountEntry& later) {
      return later.mountpoint == mount->mountpoint;
    });
    if (is_covered) {
      findings.push_back({Level::kNote, mount->mountpoint,
                          "another mount lies over this mount of " + mount->source,
                          "findmnt " + mount->mountpoint});
      continue;
    }
    const Findings of_mount = LookAtMount(*mount, patience);
    findings.insert(findings.end(), of_mount.begin(), of_mount.end());
  }
  if (findings.empty()) {
    findings.push_back({Level::kOk, "mounts", "there are none of xzfs", ""});
  }
  return findings;
}

}  // namespace xzfs
