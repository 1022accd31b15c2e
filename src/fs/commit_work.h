// What the commits of plain and of edited files share.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>

#include "fs/commits.h"
#include "fs/file_state.h"
#include "store/claims.h"
#include "store/session.h"
#include "store/xz_writer.h"

namespace xzfs {

// One attempt at one file: what is known of it, and what was made. The steps have the numbers of
// the tables in docs/commit.md. Used by one thread. What is not published is undone at the end.
struct CommitWork {
  CommitWork(const CommitParts& commit_parts, NodeId node_id) : parts(commit_parts), id(node_id) {}
  ~CommitWork();
  CommitWork(const CommitWork&) = delete;
  CommitWork& operator=(const CommitWork&) = delete;

  // Where the compressed file is made. False if that can't be, and it was said.
  Result<bool> FindPlace();
  // Opens the stored file, whatever is there now, and returns its directory. ENOENT: somebody else
  // took it away. REQUIRES: names are held.
  Result<DescriptorPtr> OpenStored();
  // Steps 2 to 4: makes the compressed file of `plain`, complete, verified and synced, under a name
  // of our own. It gets the times of the stored file, or of `overlay`, if that isn't null.
  Status Encode(const Overlay* overlay);
  // Before a name is given what is going to be done with it is on the disk. No lock is held.
  Status ClaimPlace(Claim::Kind kind);
  // The node is a new version of a compressed file, which `st` is of, from now on: what was made.
  // `ctime`: is shown as its ctime as long as that isn't changed.
  void ShowVersion(const struct stat& st, const struct timespec& ctime, const std::string* name_now)
      REQUIRES(state->mutex);
  // The node is the compressed file `name_now` from now on, without changes. `made`: that file,
  // open. `overlay`: what there was of it, or null.
  Status BecomeCompressed(const Overlay* overlay, int made, const std::string& name_now)
      REQUIRES(state->mutex);
  void Count() const;

  // For messages.
  std::string path() const { return parts.tree.nodes().PathOf(id); }
  Os& os() const { return parts.os; }

  const CommitParts& parts;
  const NodeId id;
  NodePtr node;
  std::shared_ptr<FileState> state;
  CommitJobPtr job;  // null: there was nothing to commit
  ZonePtr zone;
  std::shared_ptr<Session> session;  // in it
  // Of the stored file, when it was opened.
  std::string name;
  Identity identity;
  struct stat attributes = {};
  Descriptor stored;
  // What is encoded, and of that.
  std::unique_ptr<RandomAccessFile> plain;
  XzWriteRequest request;
  XzWriteResult written;
  TempFile temp;
  // On the two files, from ClaimPlace until what is done with them is on the disk. Taken away
  // before that it stays in its file, for the next mount.
  HeldClaim claim;
  // Why nothing was committed that should have been.
  std::optional<Error> why_left;

 private:
  Status ClaimOwner();
};

// What a commit does in a directory moves its ctime; the one that is shown stays.
class KeptDirectory {
 public:
  // Names are held exclusively while this lives. `dir` is open as `fd`.
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
