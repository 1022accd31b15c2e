// A commit that must keep the inode of its base.
#pragma once

#include <memory>
#include <string>

#include "fs/commit_work.h"
#include "fs/committer.h"
#include "store/overwritten_bases.h"
#include "xzfs/result.h"

namespace xzfs {

// Step 6 and later of the commit of an edited file whose base has several names, or lies in a
// directory where no file can take another's place. The bytes of the base are overwritten. That
// takes time and waits for the disk, so no lock is held. The mount already shows the file as it
// will be: reads get the new content, and changes go to the overlay as before. The steps, and what
// a crash after each leaves, are in docs/commit.md, "A base that is overwritten in place". Used by
// one thread.
class BaseOverwrite {
 public:
  // `work` outlives it.
  BaseOverwrite(CommitWork& work, std::shared_ptr<Overlay> overlay)
      : work_(work), parts_(work.parts), overlay_(std::move(overlay)) {}

  // REQUIRES: the new content is complete and on the disk, as `work.temp`, and the overlay names
  // the base that will be there (Overlay::NotePublishing).
  Result<Committer::Outcome> Run();
  // Continues an earlier attempt that failed half way and left `base`.
  Result<Committer::Outcome> Resume(OverwrittenBases::BasePtr base);

 private:
  Status ShowNewContent();
  Status OpenBase(int dir, const std::string& name);
  Status Fill();
  void ShowOldContent();
  Result<Committer::Outcome> End();

  CommitWork& work_;
  const CommitParts& parts_;
  const std::shared_ptr<Overlay> overlay_;
  Descriptor file_;  // the base, open for writing
  OverwrittenBases::BasePtr base_;
};

}  // namespace xzfs
