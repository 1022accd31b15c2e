// The attributes of files, other than the size.
#pragma once

#include <sys/statvfs.h>

#include <functional>
#include <span>
#include <string>

#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

struct AttributeChange;
struct Caller;
class NameLimits;
class NodeTree;
class Os;
class UnfinishedCommits;

// They belong to the stored file, except the times of an edited one, which are its overlay's.
// Thread-safe. Changes fail with EROFS on a mount that is read-only.
class Attributes {
 public:
  Attributes(NodeTree& tree, ZoneTable& zones, UnfinishedCommits& unfinished, NameLimits& limits,
             Os& os);

  // Owner and mode.
  Status ChangeStored(const NodePtr& node, const AttributeChange& change);
  Status ChangeTimes(const NodePtr& node, const AttributeChange& change);

  Result<std::string> GetXattr(NodeId node, const std::string& key);
  // The names, each with its NUL. `with_trusted`: also those of "trusted.", which only privileged
  // callers may see.
  Result<std::string> ListXattr(NodeId node, bool with_trusted);
  // Setting an ACL clears the set-group-id bit, unless `caller` is root or in the file's group.
  Status SetXattr(NodeId node, const std::string& key, std::span<const char> value, int flags,
                  const Caller& caller);
  Status RemoveXattr(NodeId node, const std::string& key);

  // Of the file system that holds the node.
  Result<struct statvfs> StatVfs(NodeId node);

 private:
  // Ways to change attributes of a file. The first two return 0 or -errno.
  struct Changer {
    std::function<int(int dir, const std::string& name)> by_name;
    std::function<int(int fd)> by_fd;  // of a file without a name
    std::function<Status(Overlay&)> of_overlay =
        nullptr;  // instead, if the file has one; may be null
  };
  Status ChangeByNameOrFd(NodeId id, const Changer& changer);
  Status ChangeWith(const NodePtr& node, const Changer& changer);
  template <class ByName, class ByFd>
  Result<size_t> AskByNameOrFd(NodeId id, const std::string& what, ByName by_name, ByFd by_fd);

  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  ZoneTable& zones_;
  UnfinishedCommits& unfinished_;
  NameLimits& limits_;
  Os& os_;
};

}  // namespace xzfs
