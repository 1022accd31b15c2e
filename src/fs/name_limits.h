// How long names may be.
#pragma once

#include <sys/statvfs.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/mutex.h"

namespace xzfs {

struct Node;
class Os;

// A name must have room for its suffix in the source, so the mount refuses to make names that are a
// bit shorter than the source's limit. A source may hold longer names already. Thread-safe.
class NameLimits {
 public:
  NameLimits(bool is_read_only, Os& os) : is_read_only_(is_read_only), os_(os) {}

  // In bytes; `st`: of the file system.
  size_t LongestOn(const struct statvfs& st) const;
  // `fd`: the directory `dir`, or any file on its file system.
  size_t LongestIn(const Node& dir, int fd) EXCLUDES(mutex_);

  // Remembers an existing name that is longer than new ones may be.
  void Note(const std::string& name) EXCLUDES(mutex_);
  bool IsKnown(const std::string& name) EXCLUDES(mutex_);

 private:
  const bool is_read_only_;
  Os& os_;
  Mutex mutex_;
  // By device, because asking may need a network.
  std::unordered_map<uint64_t, size_t> longest_names_ GUARDED_BY(mutex_);
  std::unordered_set<std::string> long_names_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
