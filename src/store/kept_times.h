// A directory's times while its names change.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include "base/os.h"

namespace xzfs {

// Names come and go in a directory for a commit, which is nobody's business: when this goes the
// directory has the mtime back that it had, if we may set it. To be held while nobody else changes
// the directory.
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
