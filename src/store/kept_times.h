// A directory's times while its names change.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include "base/os.h"

namespace xzfs {

// A commit adds and removes names in a directory, and that must not be visible. The destructor
// gives the directory its old mtime back, if we may set it. REQUIRES: no other thread changes the
// directory while it lives.
class KeptTimes {
 public:
  KeptTimes(Os& os, int dir) : os_(os), dir_(dir), known_(os.StatAt(dir, ".", &before_) == 0) {}
  ~KeptTimes() {
    if (known_) {
      const struct timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, before_.st_mtim};
      os_.SetTimes(dir_, ".", times);
    }
  }
  KeptTimes(const KeptTimes&) = delete;
  KeptTimes& operator=(const KeptTimes&) = delete;

 private:
  Os& os_;
  const int dir_;
  struct stat before_ = {};
  const bool known_;
};

}  // namespace xzfs
