#include "store/overlay_syncs.h"

#include <cstring>

#include "base/try.h"

namespace xzfs {

void OverlaySyncs::TakeTurnToRenew(Mutex& lock) {
  while (is_taken_) {
    turn_ended_.Wait(lock);
  }
  is_taken_ = true;
}

Status OverlaySyncs::TakeTurn(Mutex& lock) {
  TakeTurnToRenew(lock);
  if (error_) {
    EndTurn();
    return Failure(*error_);
  }
  return {};
}

void OverlaySyncs::EndTurn() {
  is_taken_ = false;
  turn_ended_.NotifyAll();
}

Status OverlaySyncs::Note(int result) {
  if (result == 0) {
    return {};
  }
  error_ = Error{ErrorKind::kSystem, -result,
                 "sync the overlay " + files_.id() + ": " + std::strerror(-result)};
  return Failure(*error_);
}

Status OverlaySyncs::SyncFile(OverlayFiles::Which which, SyncScope scope, Mutex& lock) {
  XZFS_ASSIGN_OR_RETURN(const OverlayFiles::Ref file, files_.Open(which));
  const int fd = file->get();
  lock.Unlock();
  const int result = files_.os().SyncAs(scope, fd);
  lock.Lock();
  return Note(result);
}

}  // namespace xzfs
