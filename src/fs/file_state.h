// What changes of a file that is, or was, open for writing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

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
  // Set by whoever wants to change the file; the commit gives up as soon as it sees it.
  std::atomic<bool> cancelled{false};
  // Guarded by the file's mutex: the new `.xz` that has its name already, beside the plain file;
  // inode 0 if there is none.
  StoredKey twin;
  // Likewise: the descriptor that holds a lease on the plain file, and the one that has it locked,
  // or -1.
  int leased = -1;
  int locked = -1;
};
using CommitJobPtr = std::shared_ptr<CommitJob>;

// The write side of one node. `mutex` is held across system calls that open, name or remove files,
// not across reads and writes of content, and never across encoding or decoding. Take it with a
// FileLock. What is inside an overlay has a lock of its own.
//
// A file is plain, compressed or edited, as Node::kind and the overlay say. Who calls what, and
// why, is in docs/commit.md, "States of a file":
//
//   new, or plain        CreatePlain, OpenPlain      a writer has it open
//   compressed           BecomeEdited                at its first change
//   any                  TakeJob                     committing; DropJob: it is as it was
//   plain, edited        BecomeCompressed            committed
//   edited               DetachOverlay               its changes are gone, or in lost+found
//   any                  LoseLastName                nothing is committed any more
//   any                  FailSync                    until MendSync
class FileState {
 public:
  // Of a plain file: open for reading and writing while there are writers, and from the loss of its
  // last name on.
  struct Plain {
    DescriptorPtr file;
    // Every write goes to its end: the stored file is append-only.
    bool only_appends = false;
    // Its name, and what lies beside it, are such that it may be changed. Until `file` goes.
    bool is_prepared = false;
    // Why its name, which could be that of a compressed file, can't be escaped: an errno. 0: it is,
    // or need not be.
    int keeps_name = 0;
  };
  // Of a compressed file from its first change on: then it is edited.
  struct Edit {
    std::shared_ptr<Overlay> overlay;  // null: there is none
    FileId file;                       // under which it is known as edited
    // Where the overlay is.
    std::shared_ptr<Session> session;
    std::shared_ptr<Zone> zone;
    bool holds_node = false;  // it counts a lookup of the node
    bool is_durable = false;  // its names are on the disk
  };
  // Handles that may write. Closing are those of which a descriptor was closed since they wrote: a
  // FLUSH came, which mostly was the last one, and the RELEASE comes later.
  struct Writers {
    unsigned count = 0;
    unsigned closing = 0;
  };
  // What the disk may not know of the stored file's name.
  struct Name {
    // How often the name has changed, or may have; and up to which change it is on the disk
    // (Syncs::SyncName).
    uint64_t changes = 0;
    uint64_t synced_changes = 0;
    // It has just become compressed, and on the disk it may still be plain: a sync of the file
    // syncs its directory, too.
    bool is_unsynced = false;
  };

  FileState() = default;
  // What is pending of a file that was removed is deleted by the last user that knows it.
  ~FileState();
  FileState(const FileState&) = delete;
  FileState& operator=(const FileState&) = delete;

  Mutex mutex;

  // Handles that may write. They need descriptors, which `held` stands for.
  void AddWriter() REQUIRES(mutex);
  // `was_closing`: as NoteClosing was told. Returns whether the file is to be queued for a
  // commit. `is_compressed`: what is stored is.
  bool RemoveWriter(bool was_closing, bool is_compressed) REQUIRES(mutex);
  unsigned writers() const REQUIRES(mutex) { return writers_.count; }
  // A descriptor of a handle was closed since it wrote, or it writes again.
  void NoteClosing(bool is_closing) REQUIRES(mutex);
  void CloseAll() REQUIRES(mutex) { writers_.closing = writers_.count; }
  // All writers are closing, and there is something to commit.
  bool is_closing() const REQUIRES(mutex) {
    return writers_.count != 0 && writers_.closing == writers_.count && changed_;
  }
  // A program that closed the last descriptor and waits has no writer any more, though the kernel
  // may not have told us. For all others a handle that is there is one that may be written to.
  unsigned WritersFor(bool is_awaited) const REQUIRES(mutex) {
    return writers_.count - (is_awaited ? writers_.closing : 0);
  }
  bool needs_descriptors() const REQUIRES(mutex) { return held_.empty(); }
  void Hold(DescriptorQuota::Held held) REQUIRES(mutex) { held_ = std::move(held); }
  // If nobody writes to the file its descriptors are others' to have.
  void LetDescriptorsGo() REQUIRES(mutex);

  // There is something to commit, or nothing more.
  void NoteChange() REQUIRES(mutex) { changed_ = true; }
  void ForgetChange() REQUIRES(mutex) { changed_ = false; }
  bool changed() const REQUIRES(mutex) { return changed_; }
  // Changes that have been given their target and are not through: what is there is no state to
  // commit.
  bool is_changing() const REQUIRES(mutex) { return changing_ != 0; }
  // The pages that the kernel has may differ from the stored file's: nothing may be put into its
  // page cache. Set before the first change can happen, read without the lock.
  bool may_differ() const { return may_differ_; }
  void NoteMayDiffer() { may_differ_ = true; }

  const Plain& plain() const REQUIRES(mutex) { return plain_; }
  void OpenPlain(DescriptorPtr file, bool only_appends) REQUIRES(mutex);
  // It was made just now.
  void CreatePlain(DescriptorPtr file) REQUIRES(mutex);
  void PreparePlain() REQUIRES(mutex) { plain_.is_prepared = true; }
  void KeepName(int error) REQUIRES(mutex) { plain_.keeps_name = error; }
  // Returns the descriptor: reads that are under way may have it.
  DescriptorPtr ClosePlain() REQUIRES(mutex);

  const Edit& edit() const REQUIRES(mutex) { return edit_; }
  const std::shared_ptr<Overlay>& overlay() const REQUIRES(mutex) { return edit_.overlay; }
  void BecomeEdited(Edit edit) REQUIRES(mutex);
  // Returns what there was; without an overlay: nothing.
  Edit DetachOverlay() REQUIRES(mutex);
  // Returns whether the overlay counted a lookup of the node until now.
  bool ReleaseNode() REQUIRES(mutex) { return std::exchange(edit_.holds_node, false); }
  void NoteDurable(bool is_durable) REQUIRES(mutex) { edit_.is_durable = is_durable; }
  // The commit is through. DetachOverlay comes first.
  void BecomeCompressed() REQUIRES(mutex);
  // Once the node is the new file: what was decoded of the old base would seem to be of it.
  void NoteCommitted() REQUIRES(mutex) { may_differ_ = writers_.count != 0; }

  bool unlinked() const REQUIRES(mutex) { return unlinked_; }
  void LoseLastName() REQUIRES(mutex) { unlinked_ = true; }
  const Name& name() const REQUIRES(mutex) { return name_; }
  void NoteNameChange() REQUIRES(mutex) { ++name_.changes; }
  void NoteNameSynced(uint64_t changes) REQUIRES(mutex);
  void NoteNameUnsynced(bool is_unsynced) REQUIRES(mutex) { name_.is_unsynced = is_unsynced; }

  const CommitJobPtr& job() const REQUIRES(mutex) { return job_; }
  // Null, if a commit must not begin now.
  CommitJobPtr TakeJob(bool is_awaited) REQUIRES(mutex);
  void DropJob() REQUIRES(mutex) { job_ = nullptr; }

  // A sync failed: the kernel took pages for written that are lost, so no later one may succeed for
  // programs that have the file open now. When all have closed it, it's written again, by a commit.
  const std::optional<Error>& sync_error() const REQUIRES(mutex) { return sync_error_; }
  void FailSync(const Error& error) REQUIRES(mutex) { sync_error_ = error; }
  void MendSync() REQUIRES(mutex) { sync_error_.reset(); }

 private:
  friend class FileChange;
  friend class FileLock;

  // Ends the process if one doesn't hold.
  void CheckInvariants() const REQUIRES(mutex);

  DescriptorQuota::Held held_ GUARDED_BY(mutex);
  Writers writers_ GUARDED_BY(mutex);
  unsigned changing_ GUARDED_BY(mutex) = 0;
  bool changed_ GUARDED_BY(mutex) = false;
  Plain plain_ GUARDED_BY(mutex);
  Edit edit_ GUARDED_BY(mutex);
  Name name_ GUARDED_BY(mutex);
  bool unlinked_ GUARDED_BY(mutex) = false;
  std::optional<Error> sync_error_ GUARDED_BY(mutex);
  CommitJobPtr job_ GUARDED_BY(mutex);
  std::atomic<bool> may_differ_{false};
};

// Holds a file's mutex. In debug builds its end sees to it that the state's invariants hold.
class SCOPED_CAPABILITY FileLock {
 public:
  explicit FileLock(FileState& state) ACQUIRE(state.mutex) : state_(state) { state_.mutex.Lock(); }
  ~FileLock() RELEASE();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  FileState& state_;
};

// A change of a file that is on its way: no commit begins while it lives.
class FileChange {
 public:
  explicit FileChange(std::shared_ptr<FileState> state) REQUIRES(state->mutex);
  FileChange(FileChange&& other) noexcept = default;
  FileChange& operator=(FileChange&&) = delete;
  ~FileChange();

 private:
  std::shared_ptr<FileState> state_;
};

}  // namespace xzfs
