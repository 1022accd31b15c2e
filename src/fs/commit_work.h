// What the commits of plain and of edited files share.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>

#include "base/memory_budget.h"
#include "fs/commits.h"
#include "fs/file_state.h"
#include "store/claims.h"
#include "store/session.h"
#include "store/xz_writer.h"

namespace xzfs {

// One attempt to commit one file: what it has found and made. The step numbers are those of the
// tables in docs/commit.md. Used by one thread. The destructor removes what was not published.
struct CommitWork {
  CommitWork(const CommitParts& commit_parts, NodeId node_id) : parts(commit_parts), id(node_id) {}
  ~CommitWork();
  CommitWork(const CommitWork&) = delete;
  CommitWork& operator=(const CommitWork&) = delete;

  // Finds the session in which the compressed file is made. False if there can't be one; the reason
  // was logged.
  Result<bool> FindPlace();
  // Opens the stored file that is there now, and returns its directory. ENOENT: another program
  // removed it. REQUIRES: names are held.
  Result<DescriptorPtr> OpenStored();
  // Step 2: makes the compressed file of `plain` under a temporary name.
  Status Encode();
  // Steps 3 and 4: verifies and syncs it. The file gets the times of the stored file, or those of
  // `overlay` if that isn't null.
  Status Complete(const Overlay* overlay);
  // Writes the claim, which must be on the disk before the compressed file gets its name. No lock
  // is held.
  Status ClaimPlace(Claim::Kind kind);
  // Makes the node a new version: the compressed file that was made, with the attributes `st`. The
  // mount shows `ctime` as its ctime until that changes.
  void ShowVersion(const struct stat& st, const struct timespec& ctime, const std::string* name_now)
      REQUIRES(state->mutex);
  // Makes the node the compressed file `name_now`, without changes. `made`: that file, open.
  // `overlay`: the overlay that it had, or null.
  Status BecomeCompressed(const Overlay* overlay, int made, const std::string& name_now)
      REQUIRES(state->mutex);
  void Count() const;
  // Counts the memory to encode Blocks of this size.
  MemoryCharge ReserveEncoder(uint64_t block_bytes) const;

  // For messages.
  std::string path() const { return parts.tree.nodes().PathOf(id); }
  Os& os() const { return parts.os; }

  const CommitParts& parts;
  const NodeId id;
  NodePtr node;
  std::shared_ptr<FileState> state;
  CommitJobPtr job;  // null: no commit has begun
  ZonePtr zone;
  std::shared_ptr<Session> session;  // in that zone
  // Of the stored file, when it was opened.
  std::string name;
  Identity identity;
  struct stat attributes = {};
  Descriptor stored;
  // What is encoded, and the result.
  std::unique_ptr<RandomAccessFile> plain;
  XzWriteRequest request;
  XzWriteResult written;
  TempFile temp;
  // The claim on the two files. ClaimPlace makes it; it is released when the steps are on the disk.
  // If it is destroyed before, its record stays for the next mount.
  HeldClaim claim;
  // Why the file was not committed although it should have been.
  std::optional<Error> why_left;

 private:
  Status ClaimOwner();
};

// A commit changes the ctime of its directory. This keeps the ctime that the mount shows.
class KeptDirectory {
 public:
  // REQUIRES: names are held exclusively while this lives. `dir` is open as `fd`.
  KeptDirectory(const CommitWork& work, NodeId dir, int fd);
  ~KeptDirectory();
  KeptDirectory(const KeptDirectory&) = delete;
  KeptDirectory& operator=(const KeptDirectory&) = delete;

 private:
  NodeTable& nodes_;
  Os& os_;
  const NodeId dir_;
  const int fd_;
  std::optional<struct timespec> shown_;
};

}  // namespace xzfs
