// What the commands that replace files by other forms of themselves have in common.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/os.h"
#include "ctl/replace/file_batch.h"
#include "ctl/replace/tally.h"
#include "ctl/replace/work_place.h"
#include "ctl/shell/progress.h"
#include "store/claims.h"
#include "store/session.h"
#include "xzfs/result.h"

namespace xzfs {

// What all files of one run share.
struct ReplaceContext {
  Os& os;
  WorkPlaces& places;
  Tally& tally;
  Progress& progress;
};

// A FileJob that opens a file which was found, makes another in a session's folder, and says what
// came of it. Steps that were begun are undone by the classes below; the temp goes here.
class ReplaceJob : public FileJob {
 public:
  // `names`: one of the file, or all, with the attributes of the first.
  ReplaceJob(const ReplaceContext& context, std::vector<FoundFile> names)
      : names_(std::move(names)),
        file_(names_.front()),
        os_(context.os),
        places_(context.places),
        tally_(context.tally),
        progress_(context.progress) {}
  ~ReplaceJob() override;

  bool Make() override;
  bool ClaimNames() override;
  bool Publish() override;
  void Finish() override;
  std::vector<HeldClaim> TakeClaims() override;
  void Abandon(const Error& error) override { tally_.AddFailed(file_, error); }
  int made() const override { return temp_.file.get(); }
  std::vector<OpenDirPtr> dirs() const override;

 protected:
  // Errors of them are said: files that others are at work with are left, without an error. False
  // was said.
  virtual Result<bool> TryMake() = 0;
  virtual Status TryClaim() = 0;  // with AddClaim
  virtual Result<bool> TryPublish() = 0;
  virtual Result<bool> TryFinish() = 0;

  // Opens the file and sees that it is what was found; nobody else who locks it replaces it then.
  // Errors: ESTALE, EBUSY, what open says.
  Status Open(bool lock);
  // Makes `temp_`.
  Status MakeTemp();
  // The owner, mode, attributes and times of the file, for the new one.
  Status GiveMetadata();
  // `name` is one of the file still, and that is what was found. Errors: ESTALE.
  Status CheckName(const FoundFile& name);
  // Some names of the file were taken away, by us: sees that nothing else of it has changed.
  // Errors: ESTALE.
  Status TakeAttributes();
  // The compressed file still is what was read, and no mount has changes of it that are not
  // committed: those would lose their base. False was said.
  Result<bool> CheckBase();
  // What is going to be done with `name` of the file: a new one gets the name `other`, as the kind
  // of the claim says. `has_new`: that is the temp.
  Status AddClaim(Claim::Kind kind, const FoundFile& name, const std::string& other,
                  bool has_new = true);
  // Something that could not be undone is left to the next run or mount.
  void KeepClaims() { claims_.clear(); }
  // As store/plain_commit.h has it, for a name of the file.
  Status PutAside(const FoundFile& name, HeldClaim& claim, TempFile* temp);
  // The directories of `names_`, after something in them was undone.
  void SyncUndone();
  // False, and said.
  bool Skip(const std::string& reason);

  int fd() const { return descriptor_.get(); }
  int dir_fd() const { return file_.dir->fd(); }
  uint64_t old_bytes() const { return static_cast<uint64_t>(file_.attributes.st_size); }

  std::vector<FoundFile> names_;
  FoundFile& file_;  // the first of them
  Os& os_;
  WorkPlaces& places_;
  Tally& tally_;
  Progress& progress_;
  Session* session_ = nullptr;
  TempFile temp_;
  std::vector<HeldClaim> claims_;

 private:
  bool Settle(const Result<bool>& result);

  bool is_done_ = false;

  Descriptor descriptor_;
};

}  // namespace xzfs
