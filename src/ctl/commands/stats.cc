// Prints what mounts report about themselves, once.
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/metrics.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/shell/json.h"
#include "store/atomic_file.h"
#include "store/xz_writer.h"

namespace xzfs {
namespace {

class StatsCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--json", json_, "machine-readable");
    arguments.Flag("--prometheus", prometheus_, "text that Prometheus collects");
    arguments.Text("-o,--output", "FILE", output_,
                   "write to FILE, which is replaced as a whole (default: stdout)");
    arguments.OptionalOperands("MNT", paths_, "tops of mounts (default: all mounts)");
  }

  Status Run(Console& console) override {
    if (json_ && prometheus_) {
      return Fail(EINVAL, "--json and --prometheus exclude each other");
    }
    std::vector<MountStats> mounts;
    XZFS_RETURN_IF_ERROR(Ask(console, mounts));
    const std::string text = json_ ? DocumentText(console, Document(mounts)) : Text(mounts);
    if (!output_.empty()) {
      return WriteOutput(text);
    }
    console.Print(text);
    return {};
  }

 private:
  // Those that are not named may be of other users, who keep them to themselves.
  Status Ask(Console& console, std::vector<MountStats>& mounts) const {
    if (prometheus_ && paths_.empty() && AllMounts().empty()) {
      return {};  // a collector wants to know that there are none
    }
    XZFS_ASSIGN_OR_RETURN(const std::vector<std::string> paths, NamedOrAllMounts(paths_));
    for (const std::string& path : paths) {
      const auto mount = MountClient::Open(path);
      const auto stats = mount ? mount->Stats() : Result<Json>(Failure(mount.error()));
      if (stats) {
        mounts.emplace_back(path, *stats);
      } else if (paths_.empty() && stats.error().code == EACCES) {
        console.Note(stats.error().message);
      } else {
        console.FileError(path, stats.error().message);
      }
    }
    return {};
  }

  std::string Text(std::vector<MountStats> mounts) const {
    if (prometheus_) {
      // However a mount is named, it is one series.
      for (MountStats& mount : mounts) {
        mount.first = RealPath(mount.first).value_or(mount.first);
      }
      return PrometheusText(mounts);
    }
    std::string text;
    for (const MountStats& mount : mounts) {
      text += (text.empty() ? "" : "\n") + StatsTable(mount);
    }
    return text;
  }

  static Json Document(const std::vector<MountStats>& mounts) {
    Json document = NewDocument("stats");
    document["mounts"] = Json::array();
    for (const auto& [path, stats] : mounts) {
      Json mount;
      PutPath(mount, path);
      mount["stats"] = stats;
      document["mounts"].push_back(std::move(mount));
    }
    return document;
  }

  // A program that reads FILE meanwhile sees the old text or the new one.
  Status WriteOutput(const std::string& text) const {
    XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(output_));
    XZFS_RETURN_IF_ERROR(WriteFully(Os::Real(), file.fd(), std::as_bytes(std::span(text)), 0));
    return file.Publish({});
  }

  bool json_ = false;
  bool prometheus_ = false;
  std::string output_;
  std::vector<std::string> paths_;
};

}  // namespace

std::unique_ptr<Command> MakeStatsCommand() { return std::make_unique<StatsCommand>(); }

}  // namespace xzfs
