// One attempt to commit a file.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>

#include "fs/committer.h"
#include "fs/filesystem.h"
#include "store/plain_commit.h"
#include "store/session.h"
#include "store/xz_writer.h"

namespace xzfs {

// One attempt. Made, run and dropped by one thread.
class FileCommit {
 public:
  FileCommit(Filesystem& fs, NodeId id, bool is_awaited)
      : fs_(fs), id_(id), is_awaited_(is_awaited) {}
  ~FileCommit();

  Result<Committer::Outcome> Run();

 private:
  using Outcome = Committer::Outcome;
  class KeptDirectory;

  Status MendSync();
  unsigned WritersOf(const FileState& state) const REQUIRES(state.mutex);
  bool Begin();
  Result<Outcome> LeaveHot();
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
  Status BecomeCold(const std::string& name) REQUIRES(state_->mutex);
  Status ReplaceBase(int dir, const std::string& name) REQUIRES(state_->mutex);
  Status OverwriteBase(int dir, const std::string& name) REQUIRES(state_->mutex);
  Status LoseOverlay(const std::string& why);
  void Count();

  Os& os() { return fs_.os_; }

  Filesystem& fs_;
  const NodeId id_;
  const bool is_awaited_;
  NodePtr node_;
  std::shared_ptr<FileState> state_;
  std::shared_ptr<CommitJob> job_;
  std::shared_ptr<Overlay> overlay_;  // null: it is hot
  std::shared_ptr<Session> session_;
  std::string name_;   // the stored name when it began
  Identity identity_;  // of the stored file when it began
  struct stat attributes_ = {};
  Descriptor truth_;  // the stored file
  std::unique_ptr<RandomAccessFile> plain_;
  std::shared_ptr<const XzFile> base_;  // that Blocks are reused of
  XzWriteRequest request_;
  XzWriteResult written_;
  TempFile temp_;
  std::optional<PublishedTwin> twin_;
  DescriptorPtr dir_;  // that it was published in
};

}  // namespace xzfs
