// The commands that ask a mount for something by one word: sync and drop-cache.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"

namespace xzfs {
namespace {

class MountRequest : public Command {
 public:
  explicit MountRequest(std::string request) : request_(std::move(request)) {}

  void Declare(Arguments& arguments) override {
    arguments.OptionalOperands("MNT", mounts_, "tops of mounts (default: all mounts)");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(const std::vector<std::string> paths, NamedOrAllMounts(mounts_));
    for (const std::string& path : paths) {
      const auto mount = MountClient::Open(path);
      const Status done = mount ? mount->Command(request_) : Failure(mount.error());
      if (!done) {
        console.Error(done.error().message);
      }
    }
    return {};
  }

 private:
  const std::string request_;
  std::vector<std::string> mounts_;
};

}  // namespace

std::unique_ptr<Command> MakeSyncCommand() { return std::make_unique<MountRequest>("sync"); }
std::unique_ptr<Command> MakeDropCacheCommand() {
  return std::make_unique<MountRequest>("drop-cache");
}

}  // namespace xzfs
