#include "fs/name_limits.h"

#include <algorithm>
#include <climits>

#include "base/mutex.h"
#include "base/os.h"
#include "fs/node.h"
#include "store/names.h"

namespace xzfs {

size_t NameLimits::LongestOn(const struct statvfs& st) const {
  const size_t reserve = is_read_only_ ? kSuffixReserveBytes : kWritableReserveBytes;
  return st.f_namemax - std::min<size_t>(st.f_namemax, reserve);
}

size_t NameLimits::LongestIn(const Node& dir, int fd) {
  const uint64_t device = dir.identity.device;
  {
    MutexLock lock(mutex_);
    const auto known = longest_names_.find(device);
    if (known != longest_names_.end()) {
      return known->second;
    }
  }
  struct statvfs st = {};
  if (os_.StatVfs(fd, &st) < 0) {
    return NAME_MAX;  // the source decides what is too long
  }
  const size_t longest = LongestOn(st);
  MutexLock lock(mutex_);
  longest_names_.emplace(device, longest);
  return longest;
}

// Existing names that are longer than new ones may be. A rename or link that keeps such a name
// looks it up in its new directory, and must get ENOENT there. For other long names a lookup
// returns ENAMETOOLONG.
void NameLimits::Note(const std::string& name) {
  constexpr size_t kShortest =
      NAME_MAX - kWritableReserveBytes;  // shorter names are never too long
  constexpr size_t kMostNames = 4096;
  if (name.size() > kShortest) {
    MutexLock lock(mutex_);
    if (long_names_.size() >= kMostNames) {
      long_names_.clear();
    }
    long_names_.insert(name);
  }
}

bool NameLimits::IsKnown(const std::string& name) {
  MutexLock lock(mutex_);
  return long_names_.contains(name);
}

}  // namespace xzfs
