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

// One session for each file system, and each mount of one: in the nearest `.xzfs` above, so that
// the mount of that source cleans up what a crash leaves, else in a new one in the directory that
// was named, which goes when we are done. Thread-safe.
class WorkPlaces {
 public:
  explicit WorkPlaces(Os& os) : os_(os) {}
  ~WorkPlaces();
  WorkPlaces(const WorkPlaces&) = delete;
  WorkPlaces& operator=(const WorkPlaces&) = delete;

  // The session for files of `dir`, which is in no mount of xzfs; it lives as long as this. Errors:
  // what making it said.
  Result<Session*> For(const OpenDir& dir) EXCLUDES(mutex_);

  // A mount has changes of the file with that inode number, in `dir`, which are not committed: who
  // replaced it would make the mount lose its base. Errors: EACCES and the like, where that can't
  // be seen. Blocks.
  Result<bool> IsBeingEdited(const OpenDir& dir, uint64_t inode);

 private:
  struct Place {
    Descriptor home;  // the directory that `.xzfs` is in
    std::unique_ptr<Session> session;
  };

  // Device and mount: a rename doesn't leave them.
  using Reach = std::pair<dev_t, uint64_t>;

  Result<Reach> ReachOf(const OpenDir& dir);
  Result<Place> Make(const OpenDir& dir, const Reach& reach);

  Os& os_;
  Mutex mutex_;
  std::map<Reach, Place> places_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
