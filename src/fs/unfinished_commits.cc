#include "fs/unfinished_commits.h"

#include <linux/limits.h>

#include <string>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "store/names.h"
#include "store/plain_commit.h"

namespace xzfs {

Status UnfinishedCommits::Cancel(const NodePtr& node, FileState& state) {
  if (state.job() == nullptr) {
    return {};
  }
  state.job()->cancelled = true;
  if (const int leased = std::exchange(state.job()->leased, -1); leased >= 0) {
    os_.ReleaseLease(leased);  // we may be about to open it for writing
  }
  if (const int locked = std::exchange(state.job()->locked, -1); locked >= 0) {
    os_.Unlock(locked);  // a lock would look like another mount's commit
  }
  if (state.job()->twin.inode != 0) {
    XZFS_RETURN_IF_ERROR(RemoveTwin(node, state.job()->twin));
    state.job()->twin = {};
  }
  state.DropJob();
  return {};
}

Status UnfinishedCommits::RemoveTwin(const NodePtr& node, const StoredKey& twin) {
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, tree_.OpenParent(node, &name));
  return xzfs::RemoveTwin(os_, parent->descriptor.get(), name, twin);
}

// Without the plain file the mount would show the twin in its place.
Status UnfinishedCommits::RemoveHidden(int dir, const StoredEntry& entry) {
  const std::string twin = CompressedNameOf(entry.logical_name, Format::kXz);
  if (entry.kind != StoredKind::kPlain || twin.size() > NAME_MAX) {
    return {};
  }
  XZFS_ASSIGN_OR_RETURN(const bool removed, twins_.RemoveHidden(dir, entry.stored_name, twin));
  if (removed) {
    Log(LogLevel::kInfo, "'" + twin + "', which an interrupted commit had left, was removed");
  }
  return {};
}

}  // namespace xzfs
