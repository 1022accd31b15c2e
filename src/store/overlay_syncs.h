// Whose turn it is to sync the files of an overlay, and what the syncs said.
#pragma once

#include <cstdint>
#include <optional>

#include "base/mutex.h"
#include "store/overlay_files.h"
#include "xzfs/result.h"

namespace xzfs {

// One thread at a time has the turn, and no other thread replaces the log while it has it. The
// kernel reports an error of a file once: so after a sync that failed every later one fails with
// the same error, until Forgive.
//
// Not thread-safe: the overlay's lock guards it. Methods that release that lock while they wait or
// sync take it as `lock`.
class OverlaySyncs {
 public:
  // `files` outlive it.
  explicit OverlaySyncs(OverlayFiles& files) : files_(files) {}

  // Waits for the turn and takes it. If a sync has failed it fails and takes nothing.
  Status TakeTurn(Mutex& lock) REQUIRES(lock);
  // The same, but takes the turn also if a sync has failed.
  void TakeTurnToRenew(Mutex& lock) REQUIRES(lock);
  void EndTurn();
  bool has_turn_taken() const { return is_taken_; }

  // Syncs one file. What is written in the meantime is not covered. REQUIRES: the caller has the
  // turn.
  Status SyncFile(OverlayFiles::Which which, SyncScope scope, Mutex& lock) REQUIRES(lock);
  // Notes the result of a sync of something that was acknowledged: 0 or a negative errno.
  Status Note(int result);
  const std::optional<Error>& error() const { return error_; }
  // Both files were written again, and synced: the error is no longer true.
  void Forgive() { error_.reset(); }

  // The changes that the overlay had counted before a sync are on the disk, times included.
  void NoteCovered(uint64_t changes) { covered_changes_ = changes; }
  bool Covers(uint64_t changes) const { return changes == covered_changes_; }

 private:
  OverlayFiles& files_;
  bool is_taken_ = false;
  CondVar turn_ended_;
  std::optional<Error> error_;
  uint64_t covered_changes_ = 0;
};

}  // namespace xzfs
