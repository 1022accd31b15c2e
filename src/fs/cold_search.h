// compress=cold: the search for unused files.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "store/cold_notes.h"
#include "xzfs/result.h"

namespace xzfs {

class Os;

// One thread at low priority walks through the source again and again. It has plain files
// compressed, one after the other, that were neither modified nor read for `cold_after_s`. It only
// lists directories and stats plain files; a name with a compressed suffix counts as a compressed
// file. It does not leave the source's file system, since nothing can be renamed across the border.
// Its notes keep its position, and which files do not shrink, for the next mount. Thread-safe.
class ColdSearch {
 public:
  struct Calls {
    // Whether the mount's rules keep the file plain. All of these are called without a lock.
    std::function<bool(const std::string& path, const struct stat& st)> stays_plain;
    // Whether it is known that the file would not shrink enough.
    std::function<bool(const std::string& path, const struct stat& st)> would_not_shrink;
    // By which share files have to shrink.
    std::function<double()> least_saving;
    // Compresses the file, unless it is in use. Blocks. Errors: those of a commit.
    std::function<Status(const std::string& path, const struct stat& st)> compress;
    // Makes `compress` return soon.
    std::function<void()> cancel;
    // Loads and stores the notes; an empty string: there are none.
    std::function<std::string()> load;
    std::function<Status(const std::string& bytes)> keep;
  };
  // Of plain files.
  struct Share {
    uint64_t files = 0;
    uint64_t bytes = 0;
  };
  struct Figures {
    uint64_t walks = 0;     // complete ones
    bool walking = false;   // else it pauses until the next one
    std::string directory;  // where it is now
    // Of the current walk, or else of the last one:
    Share plain;         // all plain files
    Share waiting;       // not long enough unused, or in use
    Share kept;          // the rules keep them plain
    Share unshrinkable;  // would not shrink enough
    uint64_t failed = 0;
  };

  // `unshrinkable`: what commits noted; the search loads and stores it. `source`, `os`,
  // `unshrinkable` and what `calls` refer to outlive it.
  ColdSearch(Os& os, int source, double cold_after_s, UnshrinkableFiles& unshrinkable, Calls calls);
  ~ColdSearch() { Stop(); }
  ColdSearch(const ColdSearch&) = delete;
  ColdSearch& operator=(const ColdSearch&) = delete;

  void Start();
  // Ends the thread and stores the notes. Blocks until both are done. May be called twice.
  void Stop() EXCLUDES(mutex_);

  // Whether the file was unused for long enough. Always false after Stop.
  bool IsCold(const struct stat& st) EXCLUDES(mutex_);
  // Whether the atime must be set because the file is being used now and its times don't show that.
  bool IsUnnoted(const struct stat& st) const;

  Figures figures() EXCLUDES(mutex_);

 private:
  void Run() EXCLUDES(mutex_);
  void WalkAll() EXCLUDES(mutex_);
  void VisitDirectory(const std::string& directory, bool only_below,
                      std::vector<std::string>& below);
  void VisitFile(int dir, const std::string& path, const std::string& name);
  void Enter(const std::string& directory) EXCLUDES(mutex_);
  void Count(Share Figures::*share, const struct stat& st) EXCLUDES(mutex_);
  void Pause(double length_s) EXCLUDES(mutex_);
  void KeepNotes();
  ColdNotes::Scope Scope() const;
  bool ended() EXCLUDES(mutex_);

  Os& os_;
  const int source_;
  const double cold_after_s_;
  const Calls calls_;
  ColdNotes notes_;
  dev_t device_ = 0;
  std::chrono::steady_clock::time_point kept_;  // when the notes were; the thread's own
  Mutex mutex_;
  CondVar changed_;
  Figures figures_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Whether a walk visits `a` before `b`, if it visits each directory before its subdirectories, and
// those in the order of their names' bytes.
bool IsVisitedBefore(const std::string& a, const std::string& b);

}  // namespace xzfs
