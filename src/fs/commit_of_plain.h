// The commit of a plain file.
#pragma once

#include <optional>
#include <string>

#include "fs/commit_work.h"
#include "fs/committer.h"
#include "fs/plain_rules.h"
#include "store/plain_commit.h"
#include "store/saving.h"
#include "xzfs/result.h"

namespace xzfs {

// Puts `N.xz` in the place of a plain file `N`, or leaves `N` as it is. The steps, and what a crash
// after each leaves, are in docs/commit.md, "The commit of a plain file". Used by one thread.
class CommitOfPlain {
 public:
  // `work` outlives it.
  explicit CommitOfPlain(CommitWork& work)
      : work_(work), parts_(work.parts), saving_(parts_.rules.saving()) {}
  // Removes the twin unless the last step was done.
  ~CommitOfPlain();
  CommitOfPlain(const CommitOfPlain&) = delete;
  CommitOfPlain& operator=(const CommitOfPlain&) = delete;

  Result<Committer::Outcome> Run();

 private:
  using Outcome = Committer::Outcome;

  enum class Why { kRule, kWouldNotShrink };

  Result<Outcome> Leave(Why why);
  Result<Outcome> LeaveUnshrinkable();
  Result<bool> OpenPlain();
  Result<bool> IsToBeCommitted(int dir);
  void NoteWritten();
  Status LockPlain();
  Result<bool> LooksWorthIt();
  bool MustShrink() const;
  void AwaitReads();
  Result<bool> PublishTwin();
  Result<Outcome> LeaveUnpublished();
  Result<Outcome> RemovePlain();
  void ReportLongName();
  PlainFile Plain() const;

  CommitWork& work_;
  const CommitParts& parts_;
  const SavingRule saving_;
  DiskUse use_;           // of the plain file
  Why why_ = Why::kRule;  // after OpenPlain has returned false
  std::optional<PublishedTwin> twin_;
  DescriptorPtr dir_;  // the twin's directory
};

}  // namespace xzfs
