// How long names may be.
#pragma once

#include <sys/statvfs.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/mutex.h"
#include "base/os.h"
#include "fs/node.h"

namespace xzfs {

// A shown name must still be a name when it is stored with its suffix, so there are longer ones in
// a source than may be made. Thread-safe.
class NameLimits {
 public:
  NameLimits(bool is_read_only, Os& os) : is_read_only_(is_read_only), os_(os) {}

  // In bytes, on the file system that `st` is of.
  size_t LongestOn(const struct statvfs& st) const;
  // `fd` is of the directory `dir`, or of any file of its file system.
  size_t LongestIn(const Node& dir, int fd) EXCLUDES(mutex_);

  // A name that is longer than new ones may be is there.
  void Note(const std::string& name) EXCLUDES(mutex_);
  bool IsKnown(const std::string& name) EXCLUDES(mutex_);

 private:
  const bool is_read_only_;
  Os& os_;
  Mutex mutex_;
  // By device: asking may take a network.
  std::unordered_map<uint64_t, size_t> longest_names_ GUARDED_BY(mutex_);
  std::unordered_set<std::string> long_names_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
