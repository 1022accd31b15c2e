// compress=cold: the search for files that nobody uses any more.
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
#include "base/os.h"
#include "store/cold_notes.h"
#include "xzfs/result.h"

namespace xzfs {

// One thread at low priority that walks through the source, again and again, and has each plain
// file compressed that was neither modified nor read for a time; one after the other. It lists
// directories and stats plain files, nothing else: names with a compressed suffix are taken for
// what they say. It doesn't leave the source's file system, where nothing can be renamed to. Where
// it was, and what doesn't shrink, it knows at the next mount. Thread-safe.
class ColdSearch {
 public:
  struct Calls {
    // It stays plain by the mount's rules. Called without a lock, as the others are.
    std::function<bool(const std::string& path, const struct stat& st)> stays_plain;
    // Compresses the file, if nobody uses it. Blocks. Errors: those of a commit.
    std::function<Status(const std::string& path, const struct stat& st)> compress;
    // Makes `compress` return soon.
    std::function<void()> cancel;
    // The notes, as they were kept, and to keep them; empty: there are none.
    std::function<std::string()> load;
    std::function<Status(const std::string& bytes)> keep;
  };
  // Of plain files.
  struct Share {
    uint64_t files = 0;
    uint64_t bytes = 0;
  };
  struct Figures {
    uint64_t walks = 0;     // that went through everything
    bool walking = false;   // else it waits for the next one
    std::string directory;  // that it is in
    // Of the walk that is under way, or of the last one:
    Share plain;         // all plain files
    Share waiting;       // not long enough unused, or in use
    Share kept;          // stay plain by the rules
    Share unshrinkable;  // were tried
    uint64_t failed = 0;
  };

  // `source`, `os` and what `calls` refer to outlive it.
  ColdSearch(Os& os, int source, double cold_after_s, Calls calls);
  ~ColdSearch() { Stop(); }
  ColdSearch(const ColdSearch&) = delete;
  ColdSearch& operator=(const ColdSearch&) = delete;

  void Start();
  // Ends it, and keeps its notes. Blocks until then. May be called twice.
  void Stop() EXCLUDES(mutex_);

  // Nobody has used the file for long enough. Never after Stop.
  bool IsCold(const struct stat& st) EXCLUDES(mutex_);
  // It is being used now, and its times don't tell: it must be noted.
  bool IsUnnoted(const struct stat& st) const;
  // It was compressed, and did not become smaller.
  void NoteUnshrinkable(const struct stat& st);

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

// Whether a walk that visits each directory before those in it, and these by their names' bytes,
// comes to `a` before `b`.
bool IsVisitedBefore(const std::string& a, const std::string& b);

}  // namespace xzfs
