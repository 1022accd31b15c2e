// Looks for what keeps xzfs from working, and for what needs attention.
//
// The machine comes first, then the mounts, then the sources: those of the mounts only at their
// top, those that are named as a whole. Each finding is printed as soon as it is there, because a
// walk may take long. A path in a mount stands for the directory behind it, which the mount table
// names. The exit code follows from the findings at the end.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mount_table.h"
#include "ctl/commands/commands.h"
#include "ctl/doctor/host.h"
#include "ctl/doctor/mounts.h"
#include "ctl/doctor/source.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/shell/json.h"

namespace xzfs {
namespace {

using Level = Finding::Level;

// How long a mount may take to tell its figures, which takes some milliseconds.
constexpr std::chrono::seconds kPatience{3};
constexpr int kLevelColumn = 8;

// In the order of Level.
constexpr std::array<const char*, 4> kLevelNames = {"ok", "note", "warning", "problem"};

const char* LevelName(Level level) { return kLevelNames[static_cast<size_t>(level)]; }

// The mount of xzfs in which an absolute path lies; null if it lies in none.
const MountEntry* MountAround(const std::vector<MountEntry>& mounts, const std::string& path) {
  const MountEntry* found = nullptr;
  for (const MountEntry& mount : mounts) {
    const std::string& top = mount.mountpoint;
    const bool is_around =
        path == top || top == "/" || (path.starts_with(top) && path[top.size()] == '/');
    if (is_around && (found == nullptr || top.size() >= found->mountpoint.size())) {
      found = &mount;
    }
  }
  return found != nullptr && found->is_xzfs() ? found : nullptr;
}

class DoctorCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--json", json_, "machine-readable");
    arguments.OptionalOperands("PATH", paths_, "directories of stored files, looked at as a whole");
  }

  Status Run(Console& console) override {
    Tell(console, LookAtHost(DoctorHost::Real()));
    const std::vector<MountEntry> mounts = ReadMountTable();
    Tell(console, LookAtMounts(mounts, kPatience));
    if (paths_.empty()) {
      TellAboutSourcesOf(console, mounts);
    }
    for (const std::string& path : paths_) {
      Tell(console, LookAtPath(mounts, path));
    }
    if (json_) {
      PrintFindings(console);
    } else {
      PrintSummary(console);
    }
    if (const size_t problems = CountOf(Level::kProblem); problems != 0) {
      console.Error(problems == 1 ? "there is a problem"
                                  : "there are " + std::to_string(problems) + " problems");
    }
    return {};
  }

 private:
  static Findings LookAtPath(const std::vector<MountEntry>& mounts, const std::string& path) {
    const auto real = RealPath(path);
    if (!real) {
      return {
          {Level::kProblem, path, std::string("can't be looked at: ") + std::strerror(errno), ""}};
    }
    const MountEntry* const mount = MountAround(mounts, *real);
    if (mount == nullptr) {
      return LookAtSource(Os::Real(), *real, SourceDepth::kAllFiles);
    }
    if (mount->source == mount->mountpoint) {
      return {{Level::kNote, path, "its stored files can't be seen while xzfs is mounted over them",
               "xzfsctl umount --wait " + mount->mountpoint}};
    }
    const std::string below = real->substr(std::min(mount->mountpoint.size(), real->size()));
    return LookAtSource(Os::Real(), mount->source + below, SourceDepth::kAllFiles);
  }

  void TellAboutSourcesOf(Console& console, const std::vector<MountEntry>& mounts) {
    std::vector<std::string> seen;
    for (const MountEntry& mount : mounts) {
      const bool is_visible = mount.is_xzfs() && mount.source.starts_with('/') &&
                              MountAround(mounts, mount.source) == nullptr;
      if (is_visible && std::find(seen.begin(), seen.end(), mount.source) == seen.end()) {
        seen.push_back(mount.source);
        Tell(console, LookAtSource(Os::Real(), mount.source, SourceDepth::kTop));
      }
    }
  }

  // Each is printed as soon as it is found.
  void Tell(Console& console, const Findings& findings) {
    for (const Finding& finding : findings) {
      if (!json_) {
        console.Print(fmt::format(
            "{:<{}} {}: {}{}\n", LevelName(finding.level), kLevelColumn, Printable(finding.subject),
            Printable(finding.text),
            finding.command.empty() ? std::string() : "; type: " + Printable(finding.command)));
        console.Flush();
      }
      findings_.push_back(finding);
    }
  }

  size_t CountOf(Level level) const {
    return static_cast<size_t>(
        std::count_if(findings_.begin(), findings_.end(),
                      [level](const Finding& finding) { return finding.level == level; }));
  }

  void PrintSummary(Console& console) const {
    const size_t warnings = CountOf(Level::kWarning);
    console.Print(fmt::format("\n{} {}, {} {}\n", CountOf(Level::kProblem),
                              CountOf(Level::kProblem) == 1 ? "problem" : "problems", warnings,
                              warnings == 1 ? "warning" : "warnings"));
  }

  void PrintFindings(Console& console) const {
    Json document = NewDocument("doctor");
    document["version"] = XZFS_VERSION;
    document["problems"] = CountOf(Level::kProblem);
    document["warnings"] = CountOf(Level::kWarning);
    document["notes"] = CountOf(Level::kNote);
    document["findings"] = Json::array();
    for (const Finding& finding : findings_) {
      Json entry = {{"level", LevelName(finding.level)},
                    {"subject", finding.subject},
                    {"text", finding.text}};
      entry["command"] = finding.command.empty() ? Json(nullptr) : Json(finding.command);
      document["findings"].push_back(std::move(entry));
    }
    xzfs::PrintDocument(console, std::move(document));
  }

  bool json_ = false;
  std::vector<std::string> paths_;
  Findings findings_;
};

}  // namespace

std::unique_ptr<Command> MakeDoctorCommand() { return std::make_unique<DoctorCommand>(); }

}  // namespace xzfs
