// Shows the options of a mount that can change while it runs, and changes them.
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/mounts/mount_settings.h"
#include "ctl/shell/json.h"

namespace xzfs {
namespace {

class SetCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Operand("MNT", mount_, "the top of a mount");
    arguments.Flag("--json", json_, "machine-readable; shows the present values");
    // Newer CLI11 takes no '=' in a name.
    arguments.OptionalOperands("SETTING", settings_,
                               "KEY=VALUE: cache_size, compress_threads, settle, preset, "
                               "min_saving, idle or log_level, as in "
                               "xzfs -o; none: show the present values");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(const MountClient mount, MountClient::Open(mount_));
    for (const std::string& setting : settings_) {
      if (const Status set = mount.Command("set." + setting); !set) {
        console.Error(set.error().message);
      }
    }
    if (settings_.empty() || json_) {
      return Show(console, mount);
    }
    return {};
  }

 private:
  Status Show(Console& console, const MountClient& mount) const {
    XZFS_ASSIGN_OR_RETURN(const Json stats, mount.Stats());
    const Json settings = stats.value("settings", Json::object());
    if (json_) {
      Json document = NewDocument("set");
      PutPath(document, mount_);
      document["settings"] = settings;
      PrintDocument(console, std::move(document));
      return {};
    }
    for (const auto& [name, value] : MountSettings(settings)) {
      console.Print(name + "=" + Printable(value) + "\n");
    }
    console.Note(
        "what xzfsctl set changes lasts until the mount ends: to keep it, give xzfs the option");
    return {};
  }

  bool json_ = false;
  std::string mount_;
  std::vector<std::string> settings_;
};

}  // namespace

std::unique_ptr<Command> MakeSetCommand() { return std::make_unique<SetCommand>(); }

}  // namespace xzfs
