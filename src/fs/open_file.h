// A handle of a file.
#pragma once

#include <fcntl.h>

#include <memory>
#include <utility>

#include "base/mutex.h"
#include "fs/node.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// An open file. It belongs to its node, whose stored file may be replaced. Thread-safe.
class OpenFile {
 public:
  using Content = std::shared_ptr<const RandomAccessFile>;

  OpenFile(NodePtr node, int flags) : node_(std::move(node)), flags_(flags) {}
  // The node as it was when the file was opened.
  const NodePtr& node() const { return node_; }
  NodeId id() const { return node_->id; }
  int flags() const { return flags_; }
  bool may_write() const { return (flags_ & O_ACCMODE) != O_RDONLY; }

  // The content of `now`, the present version of the node. Calls `make` for it if the last read saw
  // another version.
  template <class Make>
  Content ContentFor(const NodePtr& now, Make make) const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (seen_ != now) {
      content_ = make();
      seen_ = now;
    }
    return content_;
  }

  // Sets whether FileState::Writers::closing counts this handle. Returns the old value. REQUIRES:
  // the FileState's mutex.
  bool SetClosing(bool closing) const { return std::exchange(is_closing_, closing); }

 private:
  const NodePtr node_;
  const int flags_;
  mutable bool is_closing_ = false;
  mutable Mutex mutex_;
  mutable NodePtr seen_ GUARDED_BY(mutex_);
  mutable Content content_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
