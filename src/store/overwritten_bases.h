// Which stored files are being overwritten, and what is shown instead of them.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/identity.h"
#include "base/mutex.h"
#include "store/descriptor_cache.h"
#include "store/session.h"

namespace xzfs {

// A compressed file that can't be replaced, since it has several names, is overwritten: for that
// time its bytes are neither the old nor the new ones. Until all is done it is seen as if it was.
struct OverwrittenBase {
  // The new content, whole, under a name of our own in the session's folder.
  DescriptorPtr new_content;
  std::string new_name;
  // Says so on the disk, once an attempt has failed half way.
  std::string intent;
  std::shared_ptr<Session> session;
  // What a stat of the stored file is to tell: its size, its mtime and its ctime.
  struct stat shown = {};
};

// Thread-safe. Costs one load of an atomic while nothing is overwritten.
class OverwrittenBases {
 public:
  using BasePtr = std::shared_ptr<const OverwrittenBase>;

  // `base.shown` is of the stored file.
  void Add(OverwrittenBase base) EXCLUDES(mutex_);
  void Remove(const FileId& file) EXCLUDES(mutex_);
  // Null: it isn't one.
  BasePtr Find(const FileId& file) const EXCLUDES(mutex_);
  // `st`, of any stored file, becomes what is to be seen of it.
  void Show(struct stat& st) const EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::unordered_map<FileId, BasePtr, FileIdHash> bases_ GUARDED_BY(mutex_);
  std::atomic<bool> has_any_{false};
};

}  // namespace xzfs
