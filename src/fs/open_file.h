// A handle of a file.
#pragma once

#include <fcntl.h>

#include <memory>
#include <utility>

#include "base/mutex.h"
#include "fs/node.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// An open file. Thread-safe; what it reads from is the Filesystem's business.
class OpenFile {
 public:
  OpenFile(NodePtr node, int flags) : node_(std::move(node)), flags_(flags) {}
  // As it was when the file was opened.
  const NodePtr& node() const { return node_; }
  NodeId id() const { return node_->id; }
  int flags() const { return flags_; }
  bool may_write() const { return (flags_ & O_ACCMODE) != O_RDONLY; }

 private:
  friend class Filesystem;

  const NodePtr node_;
  const int flags_;
  // It counts among FileState::closing, whose mutex guards it.
  mutable bool closing_ = false;
  // The content of the node as it was at the last read: a handle belongs to the node, not to a
  // stored file.
  mutable Mutex mutex_;
  mutable NodePtr seen_ GUARDED_BY(mutex_);
  mutable std::shared_ptr<const RandomAccessFile> content_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
