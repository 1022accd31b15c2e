// The state of a file that is, or was, open for writing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "base/identity.h"
#include "base/mutex.h"
#include "fs/commit_for.h"
#include "fs/descriptor_shares.h"
#include "store/descriptor_cache.h"
#include "store/stored_key.h"
#include "xzfs/result.h"

namespace xzfs {

class Overlay;
class Session;
struct Zone;

// A running commit of a file.
struct CommitJob {
  // Set by a thread that wants to change the file; the commit gives up as soon as it sees it.
  std::atomic<bool> cancelled{false};
  // Guarded by the file's mutex: the new `.xz` that already has its name beside the plain file;
  // inode 0 if there is none.
  StoredKey twin;
  // Guarded by the same mutex: the descriptors that hold a lease and a lock on the plain file, or
  // -1.
  int leased = -1;
  int locked = -1;
};
using CommitJobPtr = std::shared_ptr<CommitJob>;

// The write side of one node. `mutex` is held across system calls that open, name or remove files,
// not across reads and writes of content, and never across encoding or decoding. Take it with a
// FileLock. The contents of an overlay have a lock of their own.
//
// A file is plain, compressed or edited, as Node::kind and the overlay say. docs/commit.md, "States
// of a file", has the callers and the reasons:
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
  // Of a plain file: it is open for reading and writing while there are writers, and after it lost
  // its last name.
  struct Plain {
    DescriptorPtr file;
    // The stored file is append-only: the kernel puts every write at its end.
    bool only_appends = false;
    // Its name and its neighbours are ready for a change of the file. Holds until `file` is closed.
    bool is_prepared = false;
    // The errno with which escaping its name failed, which could be that of a compressed file. 0:
    // it is escaped, or need not be.
    int keeps_name = 0;
    // How many were written to it since TakeWritten.
    uint64_t written_bytes = 0;
  };
  // Of a compressed file after its first change: then it is edited.
  struct Edit {
    std::shared_ptr<Overlay> overlay;  // null: there is none
    FileId file;                       // its key in EditedFiles
    // Where the overlay is.
    std::shared_ptr<Session> session;
    std::shared_ptr<Zone> zone;
    bool holds_node = false;  // it counts a lookup of the node
    bool is_durable = false;  // its names are on the disk
  };
  // Handles that may write. A handle is closing if one of its descriptors was closed after its last
  // write: a FLUSH came, which mostly was the last one, and the RELEASE comes later.
  struct Writers {
    unsigned count = 0;
    unsigned closing = 0;
  };
  // Changes of the stored file's name that may not be on the disk.
  struct Name {
    // How often the name has changed, or may have; and how many of these changes are on the disk
    // (Syncs::SyncName).
    uint64_t changes = 0;
    uint64_t synced_changes = 0;
    // The file has just become compressed, and on the disk it may still be plain: a sync of the
    // file syncs its directory, too.
    bool is_unsynced = false;
  };

  FileState() = default;
  // Removes the overlay of a file that was removed.
  ~FileState();
  FileState(const FileState&) = delete;
  FileState& operator=(const FileState&) = delete;

  Mutex mutex;

  // Counts a handle that may write.
  void AddWriter() REQUIRES(mutex);
  // Returns whether to queue the file for a commit. `was_closing`: whether NoteClosing counted the
  // handle. `is_compressed`: the stored file is.
  bool RemoveWriter(bool was_closing, bool is_compressed) REQUIRES(mutex);
  unsigned writers() const REQUIRES(mutex) { return writers_.count; }
  // A descriptor of a handle was closed after its last write, or the handle writes again.
  void NoteClosing(bool is_closing) REQUIRES(mutex);
  void CloseAll() REQUIRES(mutex) { writers_.closing = writers_.count; }
  // All writers are closing, and there is something to commit.
  bool is_closing() const REQUIRES(mutex) {
    return writers_.count != 0 && writers_.closing == writers_.count && changed_;
  }
  // The number of writers. A caller that waits has closed its last descriptor, so closing handles
  // don't count for it, though the kernel has not released them yet. For others every handle may
  // still be written to.
  unsigned WritersFor(CommitFor whom) const REQUIRES(mutex) {
    return writers_.count - (whom == CommitFor::kCaller ? writers_.closing : 0);
  }
  bool needs_descriptors() const REQUIRES(mutex) { return held_.empty(); }
  void Hold(DescriptorQuota::Held held) REQUIRES(mutex) { held_ = std::move(held); }
  // Gives the quota of descriptors back, if the file has no writers.
  void LetDescriptorsGo() REQUIRES(mutex);

  // Whether there is something to commit.
  void NoteChange() REQUIRES(mutex) { changed_ = true; }
  void ForgetChange() REQUIRES(mutex) { changed_ = false; }
  bool changed() const REQUIRES(mutex) { return changed_; }
  // Whether a FileChange lives: the content is half-way and must not be committed.
  bool is_changing() const REQUIRES(mutex) { return changing_ != 0; }
  // Whether the kernel's pages may differ from the stored file: nothing may be put into its page
  // cache then. Set before the first change can happen; read without the lock.
  bool may_differ() const { return may_differ_; }
  void NoteMayDiffer() { may_differ_ = true; }

  const Plain& plain() const REQUIRES(mutex) { return plain_; }
  void OpenPlain(DescriptorPtr file, bool only_appends) REQUIRES(mutex);
  // The file was made just now.
  void CreatePlain(DescriptorPtr file) REQUIRES(mutex);
  void PreparePlain() REQUIRES(mutex) { plain_.is_prepared = true; }
  void KeepName(int error) REQUIRES(mutex) { plain_.keeps_name = error; }
  void NoteWritten(uint64_t bytes) REQUIRES(mutex) { plain_.written_bytes += bytes; }
  uint64_t TakeWritten() REQUIRES(mutex) { return std::exchange(plain_.written_bytes, 0); }
  // Returns the descriptor, since running reads may use it.
  DescriptorPtr ClosePlain() REQUIRES(mutex);

  const Edit& edit() const REQUIRES(mutex) { return edit_; }
  const std::shared_ptr<Overlay>& overlay() const REQUIRES(mutex) { return edit_.overlay; }
  void BecomeEdited(Edit edit) REQUIRES(mutex);
  // Returns the old value; without an overlay it is empty.
  Edit DetachOverlay() REQUIRES(mutex);
  // Returns whether the overlay counted a lookup of the node until this call.
  bool ReleaseNode() REQUIRES(mutex) { return std::exchange(edit_.holds_node, false); }
  void NoteDurable(bool is_durable) REQUIRES(mutex) { edit_.is_durable = is_durable; }
  // The commit has ended. REQUIRES: DetachOverlay was called.
  void BecomeCompressed() REQUIRES(mutex);
  // Call it only when the node is the new file: else what was decoded of the old base would pass
  // for its content.
  void NoteCommitted() REQUIRES(mutex) { may_differ_ = writers_.count != 0; }

  bool unlinked() const REQUIRES(mutex) { return unlinked_; }
  void LoseLastName() REQUIRES(mutex) { unlinked_ = true; }
  const Name& name() const REQUIRES(mutex) { return name_; }
  void NoteNameChange() REQUIRES(mutex) { ++name_.changes; }
  void NoteNameSynced(uint64_t changes) REQUIRES(mutex);
  void NoteNameUnsynced(bool is_unsynced) REQUIRES(mutex) { name_.is_unsynced = is_unsynced; }

  const CommitJobPtr& job() const REQUIRES(mutex) { return job_; }
  // Null if a commit must not begin now.
  CommitJobPtr TakeJob(CommitFor whom) REQUIRES(mutex);
  void DropJob() REQUIRES(mutex) { job_ = nullptr; }

  // A sync failed. The kernel has dropped the pages that it could not write, so no later sync may
  // succeed for programs that have the file open now. When all have closed it, a commit writes it
  // again.
  const std::optional<Error>& sync_error() const REQUIRES(mutex) { return sync_error_; }
  void FailSync(const Error& error) REQUIRES(mutex) { sync_error_ = error; }
  void MendSync() REQUIRES(mutex) { sync_error_.reset(); }

 private:
  friend class FileChange;
  friend class FileLock;

  // Ends the process if an invariant doesn't hold.
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

// Holds a file's mutex. In debug builds the destructor checks the state's invariants.
class SCOPED_CAPABILITY FileLock {
 public:
  explicit FileLock(FileState& state) ACQUIRE(state.mutex) : state_(state) { state_.mutex.Lock(); }
  ~FileLock() RELEASE();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  FileState& state_;
};

// A running change of a file. No commit begins while it lives.
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
