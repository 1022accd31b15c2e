// Changes options of a mount while it runs.
#include <memory>
#include <string>
#include <vector>

#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"

namespace xzfs {
namespace {

class SetCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Operand("MNT", mount_, "the top of a mount");
    // Newer CLI11 takes no '=' in a name.
    arguments.Operands(
        "SETTING", settings_,
        "KEY=VALUE: cache_size, compress_threads, settle, preset, idle or log_level, as in "
        "xzfs -o");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(const MountClient mount, MountClient::Open(mount_));
    for (const std::string& setting : settings_) {
      if (const Status set = mount.Command("set." + setting); !set) {
        console.Error(set.error().message);
      }
    }
    return {};
  }

 private:
  std::string mount_;
  std::vector<std::string> settings_;
};

}  // namespace

std::unique_ptr<Command> MakeSetCommand() { return std::make_unique<SetCommand>(); }

}  // namespace xzfs
