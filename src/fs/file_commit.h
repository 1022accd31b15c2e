// One attempt to commit a file.
#pragma once

#include <optional>

#include "fs/commit_of_edited.h"
#include "fs/commit_of_plain.h"
#include "fs/commit_work.h"
#include "fs/committer.h"

namespace xzfs {

struct CommitParts;

// Which errors may end the attempts to commit a file. The caller of kAllExceptExdev looks for a
// border between zones after EXDEV, and tries again.
enum class FinalErrors { kAll, kAllExceptExdev };

// The work before and after the steps of a commit. One thread makes, runs and destroys it.
class FileCommit {
 public:
  FileCommit(const CommitParts& parts, NodeId id, CommitFor whom)
      : parts_(parts), whom_(whom), work_(parts, id) {}

  Result<Committer::Outcome> Run(FinalErrors final_errors);
  // After an error: whether it would come again at each attempt until the file changes.
  bool has_given_up() const { return has_given_up_; }
  // Whether there was something to commit.
  bool has_begun() const { return work_.job != nullptr; }
  // After kLeft: the reason, if the file should have been committed.
  const std::optional<Error>& why_left() const { return work_.why_left; }

 private:
  using Outcome = Committer::Outcome;

  Status MendSync();
  bool Begin();
  std::optional<Error> WhyBroken() REQUIRES(work_.state->mutex);
  Result<Outcome> TakeSteps();
  void NoteAttempt(const Result<Outcome>& outcome, FinalErrors final_errors);

  const CommitParts& parts_;
  const CommitFor whom_;
  bool has_given_up_ = false;
  std::shared_ptr<Overlay> overlay_;  // null: the file is plain
  CommitWork work_;
  // One of them is set. They are destroyed before `work_`, and after the attempt was noted.
  std::optional<CommitOfPlain> plain_;
  std::optional<CommitOfEdited> edited_;
};

}  // namespace xzfs
