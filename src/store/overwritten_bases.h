// Which stored files are being overwritten, and what xzfs shows instead.
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

// A compressed file with several names can't be replaced, so its bytes are overwritten. During that
// time they are neither the old nor the new ones, and xzfs shows the file as it will be.
struct OverwrittenBase {
  // The complete new content, a file in the session's folder.
  DescriptorPtr new_content;
  std::string new_name;
  // The intent that says so on the disk, once an attempt has failed half way.
  std::string intent;
  std::shared_ptr<Session> session;
  // What a stat of the stored file should give: size, mtime and ctime.
  struct stat shown = {};
};

// Thread-safe. Costs one load of an atomic while nothing is overwritten.
class OverwrittenBases {
 public:
  using BasePtr = std::shared_ptr<const OverwrittenBase>;

  // `base.shown` has the identity of the stored file.
  void Add(OverwrittenBase base) EXCLUDES(mutex_);
  void Remove(const FileId& file) EXCLUDES(mutex_);
  // Null if it isn't being overwritten.
  BasePtr Find(const FileId& file) const EXCLUDES(mutex_);
  // Changes `st`, of any stored file, to what should be seen of it.
  void Show(struct stat& st) const EXCLUDES(mutex_);

 private:
  mutable Mutex mutex_;
  std::unordered_map<FileId, BasePtr, FileIdHash> bases_ GUARDED_BY(mutex_);
  std::atomic<bool> has_any_{false};
};

}  // namespace xzfs
