// Making names.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fs/answers.h"
#include "fs/handles.h"
#include "xzfs/result.h"

namespace xzfs {

struct Caller;
class DescriptorQuota;
class Lookups;
class NodeTree;
class Os;
struct Place;
class Places;
class UnfinishedCommits;

// Thread-safe. All fail with EROFS on a mount that is read-only.
class NewNames {
 public:
  NewNames(NodeTree& tree, Places& places, Lookups& lookups, Handles& handles,
           UnfinishedCommits& unfinished, DescriptorQuota& held, Os& os);

  // Makes a plain file and opens it, or opens an existing file, unless `flags` has O_EXCL.
  // EWOULDBLOCK: as for Writes.
  Result<LookupResult> Create(NodeId parent, const std::string& name, mode_t mode, int flags,
                              const Caller& caller, std::unique_ptr<OpenFile>* file);
  // A file that is made and not opened.
  struct NewFile {
    mode_t mode = 0;          // with its kind, S_IF*
    dev_t device = 0;         // of a device
    std::string target = {};  // of a symlink
  };
  Result<LookupResult> Make(NodeId parent, const std::string& name, const NewFile& file,
                            const Caller& caller);
  Result<LookupResult> Link(NodeId node, NodeId parent, const std::string& name);

 private:
  // Returns 0 or -errno.
  int MakeStored(const Place& place, const std::string& stored, const NewFile& file,
                 const Caller& caller);

  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  Places& places_;
  Lookups& lookups_;
  Handles& handles_;
  UnfinishedCommits& unfinished_;
  DescriptorQuota& held_;
  Os& os_;
};

}  // namespace xzfs
