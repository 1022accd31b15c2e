// Where files are made before they get their names.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "ctl/replace/tree.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// The path of the directory `dir` below `above`, as far as the system tells it.
std::string PathBelow(int above, int dir);

// Keeps one session for each file system, and for each mount of one. The session is in the nearest
// `.xzfs` above, so that the mount of that source cleans up what a crash leaves. If there is none,
// it is in a new one in the directory that was named; the destructor removes that. Thread-safe.
class WorkPlaces {
 public:
  explicit WorkPlaces(Os& os) : os_(os) {}
  ~WorkPlaces();
  WorkPlaces(const WorkPlaces&) = delete;
  WorkPlaces& operator=(const WorkPlaces&) = delete;

  // The session for files of `dir`, which is in no mount of xzfs. It is valid as long as this
  // object. Errors: what making it says.
  Result<Session*> For(const OpenDir& dir) EXCLUDES(mutex_);

  // Whether a mount has uncommitted changes of the file with that inode number in `dir`. They would
  // lose their base if the file were replaced. Errors: EACCES and the like, if that can't be seen.
  // Blocks.
  Result<bool> IsBeingEdited(const OpenDir& dir, uint64_t inode);

 private:
  struct Place {
    Descriptor home;  // the directory that `.xzfs` is in
    std::unique_ptr<Session> session;
  };

  // Device and mount: no rename crosses them.
  using Reach = std::pair<dev_t, uint64_t>;

  Result<Reach> ReachOf(const OpenDir& dir);
  Result<Place> Make(const OpenDir& dir, const Reach& reach);

  Os& os_;
  Mutex mutex_;
  std::map<Reach, Place> places_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
