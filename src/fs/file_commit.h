// One attempt to commit a file.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "fs/commits.h"
#include "fs/committer.h"
#include "store/claims.h"
#include "store/plain_commit.h"
#include "store/session.h"
#include "store/xz_writer.h"

namespace xzfs {

// One attempt. Made, run and dropped by one thread.
class FileCommit {
 public:
  // `may_split`: after EXDEV the caller looks for a border of zones and tries again.
  FileCommit(const CommitParts& parts, NodeId id, bool is_awaited, bool may_split)
      : parts_(parts), id_(id), is_awaited_(is_awaited), may_split_(may_split) {}
  ~FileCommit();

  Result<Committer::Outcome> Run();
  // After an error: it would come again, whatever is tried, until the file changes.
  bool has_given_up() const { return has_given_up_; }
  // There was something to commit.
  bool has_begun() const { return job_ != nullptr; }
  // After kLeft: why, if it should have been committed.
  const std::optional<Error>& why_left() const { return why_left_; }

 private:
  using Outcome = Committer::Outcome;
  class KeptDirectory;

  Status MendSync();
  bool Begin();
  Result<bool> FindPlace();
  Result<Outcome> Attempt();
  Result<Outcome> LeaveHot();
  void NoteAttempt(const Result<Outcome>& outcome);
  std::optional<Error> WhyBroken() REQUIRES(state_->mutex);
  Result<bool> PlanHot(int dir);
  Status ClaimOwner();
  bool MayCommit() const;
  void ReportLongName();
  Result<bool> OpenTruth();
  Result<bool> TryOpenTruth();
  Status ClaimHot();
  Result<bool> Shrinks();
  Status PlanEdited();
  Status Encode();
  Status GiveMetadata();
  PlainFile Plain() const;
  Result<Outcome> PublishHot();
  Result<Outcome> ReplacePlain();
  Result<Outcome> PublishEdited();
  void AwaitReads();
  Result<bool> PublishTwin();
  Status ClaimPlace(Claim::Kind kind);
  void EndClaim();
  Status BecomeCold(const std::string& name) REQUIRES(state_->mutex);
  Status ReplaceBase(int dir, const std::string& name) REQUIRES(state_->mutex);
  Status OverwriteBase(int dir, const std::string& name) REQUIRES(state_->mutex);
  Status LoseOverlay(const std::string& why);
  void Count();

  Os& os() { return parts_.os; }

  const CommitParts& parts_;
  const NodeId id_;
  const bool is_awaited_;
  const bool may_split_;
  NodePtr node_;
  std::shared_ptr<FileState> state_;
  std::shared_ptr<CommitJob> job_;
  std::shared_ptr<Overlay> overlay_;  // null: it is hot
  ZonePtr zone_;
  std::shared_ptr<Session> session_;  // in it
  std::string name_;                  // the stored name when it began
  Identity identity_;                 // of the stored file when it began
  struct stat attributes_ = {};
  Descriptor truth_;  // the stored file
  // The base keeps its inode: it has several names, or can't be replaced in its directory.
  bool is_in_place_ = false;
  // Reading the base met what no second attempt will mend.
  std::atomic<bool> is_base_damaged_{false};
  bool has_given_up_ = false;
  std::optional<Error> why_left_;
  std::unique_ptr<RandomAccessFile> plain_;
  std::shared_ptr<const XzFile> base_;  // that Blocks are reused of
  XzWriteRequest request_;
  XzWriteResult written_;
  TempFile temp_;
  HeldClaim claim_;  // on the two files, until what is done with them is on the disk
  std::optional<PublishedTwin> twin_;
  DescriptorPtr dir_;  // that it was published in
};

}  // namespace xzfs
