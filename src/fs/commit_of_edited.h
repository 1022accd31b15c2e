// The commit of an edited file.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "cache/loaded_index.h"
#include "fs/commit_work.h"
#include "fs/committer.h"
#include "xzfs/result.h"

namespace xzfs {

// Makes a new compressed file of a compressed file, its base, and the overlay with the changes, and
// puts it in the base's place. The steps, and what a crash after each leaves, are in
// docs/commit.md, "The commit of an edited file". Used by one thread.
class CommitOfEdited {
 public:
  // `work` outlives it.
  CommitOfEdited(CommitWork& work, std::shared_ptr<Overlay> overlay)
      : work_(work), parts_(work.parts), overlay_(std::move(overlay)) {}

  Result<Committer::Outcome> Run();
  // Reading the base failed in a way that no further attempt can mend.
  bool is_base_damaged() const { return is_base_damaged_; }

 private:
  using Outcome = Committer::Outcome;

  Status OpenBase();
  Status TryOpenBase();
  Status Plan();
  Status NotePublishing();
  Status TakePlace();
  Status ReplaceBase(int dir, const std::string& name) REQUIRES(work_.state->mutex);
  Result<Outcome> Overwrite();
  void RemoveOverlay();
  Status LoseOverlay(const std::string& why);

  CommitWork& work_;
  const CommitParts& parts_;
  const std::shared_ptr<Overlay> overlay_;
  // The base keeps its inode: it has several names, or can't be replaced in its directory.
  bool is_in_place_ = false;
  std::atomic<bool> is_base_damaged_{false};
  LoadedIndexPtr base_;  // Blocks of it are reused
  DescriptorPtr dir_;    // the base's directory
};

}  // namespace xzfs
