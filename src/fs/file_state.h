// What changes of a file that is, or was, open for writing.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/identity.h"
#include "base/mutex.h"
#include "fs/descriptor_shares.h"
#include "store/descriptor_cache.h"
#include "store/overlay.h"
#include "store/session.h"
#include "store/stored_key.h"
#include "xzfs/result.h"

namespace xzfs {

struct Zone;

// A commit that is at work on a file.
struct CommitJob {
  // Set by who wants to change the file; the commit gives up as soon as it sees it.
  std::atomic<bool> cancelled{false};
  // Guarded by the file's mutex: the new `.xz` that has its name already, beside the plain file;
  // inode 0 if there is none.
  StoredKey twin;
  // Likewise: the descriptor that holds a lease on the plain file, and the one that has it locked,
  // or -1.
  int leased = -1;
  int locked = -1;
};

// The write side of one node: see "States" in docs/design.md for who moves what. `mutex` is the
// file's content lock: it is held across I/O on the source, never across encoding or decoding.
struct FileState {
  FileState() = default;
  // What was pending of a file that was removed goes with the last who knows it.
  ~FileState();
  FileState(const FileState&) = delete;
  FileState& operator=(const FileState&) = delete;

  Mutex mutex;
  // For `hot`, or the overlay's two: while there are writers, and as long as `hot` is there.
  DescriptorQuota::Held held GUARDED_BY(mutex);
  // Handles that may write.
  unsigned writers GUARDED_BY(mutex) = 0;
  // Of these, handles of which a descriptor was closed since they wrote: the kernel tells of their
  // end later than of that, and mostly it is the same.
  unsigned closing GUARDED_BY(mutex) = 0;
  // Changes that are on their way to `hot` or `overlay`: what is there is no state to commit.
  unsigned changing GUARDED_BY(mutex) = 0;
  // Something was written since the last commit.
  bool changed GUARDED_BY(mutex) = false;
  // Of a plain file, open for reading and writing: while there are writers, and from the loss of
  // its last name on.
  DescriptorPtr hot GUARDED_BY(mutex);
  // `hot` only appends: the stored file is append-only.
  bool hot_only_appends GUARDED_BY(mutex) = false;
  // Its name, and what lies beside it, are such that it may be changed. Until `hot` goes.
  bool is_prepared GUARDED_BY(mutex) = false;
  // Why its name, which could be that of a compressed file, can't be escaped: an errno. 0: it is,
  // or need not be.
  int keeps_name GUARDED_BY(mutex) = 0;
  // Of a cold file from its first change on: then it is edited.
  std::shared_ptr<Overlay> overlay GUARDED_BY(mutex);
  // Under which the overlay's file is known as edited.
  FileId edited_file GUARDED_BY(mutex);
  // The overlay counts a lookup of the node.
  bool overlay_holds_node GUARDED_BY(mutex) = false;
  // Where the overlay is.
  std::shared_ptr<Session> session GUARDED_BY(mutex);
  std::shared_ptr<Zone> zone GUARDED_BY(mutex);
  // The overlay's names are on the disk.
  bool overlay_is_durable GUARDED_BY(mutex) = false;
  // How often the stored file has got a name, or may have, since it has a state, and how many of
  // that Filesystem::SyncName has covered.
  uint64_t name_changes GUARDED_BY(mutex) = 0;
  uint64_t synced_name_changes GUARDED_BY(mutex) = 0;
  // It has just become cold, and on the disk it may still be plain: a sync of the file syncs its
  // directory, too.
  bool name_is_unsynced GUARDED_BY(mutex) = false;
  // The last name is gone: nothing is committed any more.
  bool unlinked GUARDED_BY(mutex) = false;
  // A sync failed: the kernel took pages for written that are lost, so no later one may succeed for
  // who has the file open now. When all have closed it, it's written again, by a commit.
  std::optional<Error> sync_error GUARDED_BY(mutex);
  std::shared_ptr<CommitJob> job GUARDED_BY(mutex);

  // The pages that the kernel has may differ from the stored file's: nothing may be put into its
  // page cache. Set before the first change can happen, read without the lock.
  std::atomic<bool> may_differ{false};
};

// Nobody else has it any more.
inline FileState::~FileState() NO_THREAD_SAFETY_ANALYSIS {
  if (unlinked && overlay != nullptr) {
    static_cast<void>(overlay->Remove());  // what is left of it the next mount removes
  }
}

}  // namespace xzfs
