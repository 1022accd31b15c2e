// What the commands that replace files by other forms of themselves have in common.
#pragma once

#include <atomic>
#include <cstdint>
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

// A FileJob that opens a file which the walk found, makes another one in a session's folder, and
// reports the result. The derived ones undo the steps that they began; this one removes the temp.
class ReplaceJob : public FileJob {
 public:
  // `names`: one name of the file, or all of them, with the attributes of the first.
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
  // The caller reports their errors. If another process is at work with the file, the file is
  // skipped, and that is no error. If one returns false it has reported why.
  virtual Result<bool> TryMake() = 0;
  virtual Status TryClaim() = 0;  // with AddClaim
  virtual Result<bool> TryPublish() = 0;
  virtual Result<bool> TryFinish() = 0;
  // What the file took and takes now, after TryFinish.
  virtual Replaced result() const = 0;

  // Opens the file and checks that it is the one that was found. Errors: ESTALE, what open says.
  Status Open();
  // The same, and locks it: no other process that takes this lock replaces it from then on. EBUSY:
  // another process has it.
  Status OpenLocked();
  // Makes `temp_`.
  Status MakeTemp();
  // Gives the new file the owner, mode, attributes and times of the old one.
  Status GiveMetadata();
  // Checks that `name` is still a name of the file, and that the file is what was found. Errors:
  // ESTALE.
  Status CheckName(const FoundFile& name);
  // Takes the attributes of the file after we have removed some of its names. Checks that its
  // content has not changed. Errors: ESTALE.
  Status TakeAttributes();
  // Checks that the compressed file still is what was read, and that no mount has uncommitted
  // changes of it, which would lose their base. If it returns false it has reported why.
  Result<bool> CheckBase();
  // Claims what is going to be done with `name` of the file; `kind` says what `other` is.
  // `new_file`: the new file of the claim, open; -1: it has none.
  Status AddClaim(Claim::Kind kind, const FoundFile& name, const std::string& other, int new_file);
  // Leaves something that could not be undone to the next run or mount.
  void KeepClaims() { claims_.clear(); }
  // The function of store/plain_commit.h, for a name of the file.
  Status PutAside(const FoundFile& name, HeldClaim& claim, TempFile* temp);
  // Syncs the directories of `names_` after something in them was undone.
  void SyncUndone();
  // Adds to the progress of this file: bytes of the old form that are done, and what they have
  // become. Thread-safe. What is missing at the end of the job is added then.
  void Count(uint64_t old_bytes, uint64_t new_bytes);
  // Reports that the file is skipped, and returns false.
  bool Skip(const std::string& reason);
  // The same, because `path`, the name of the new `form` ("plain" or "compressed"), is taken.
  bool SkipTaken(const std::string& form, const std::string& path);

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
  std::atomic<uint64_t> counted_bytes_{0};  // of old_bytes(); guards nothing

  Descriptor descriptor_;
};

}  // namespace xzfs
