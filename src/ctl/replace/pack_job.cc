// The steps of a commit, with the code that a mount commits with (store/plain_commit.h). Between
// them the BatchPublisher syncs: the temp before TryClaim, the directories before TryFinish.
//
// TryMake locks the plain file, looks for writers, and skips what is compressed already. It samples
// a large file, and encodes one that seems to shrink into a temp of the session, which it then
// verifies. TryClaim adds a claim for each name. TryPublish gives the temp its first name, which
// also takes the lease on the plain file, and links the others to it. TryFinish removes the plain
// names one after the other, each only if the file still is what was encoded.
//
// The names from `begin_` to `end_` have both files. Each index moves only after its step has
// succeeded, so the destructor removes exactly the twins beside which the plain file is still
// there. With --keep nothing is claimed, and both files stay. With --dry-run the job ends after the
// samples.
#include "ctl/replace/pack_job.h"

#include <linux/limits.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/try.h"
#include "ctl/files/input.h"
#include "store/directory_reader.h"
#include "store/kept_times.h"
#include "store/names.h"

namespace xzfs {
PackJob::~PackJob() {
  for (size_t i = begin_; i < end_; ++i) {
    const FoundFile& name = names_[i];
    if (const Status removed = RemoveTwin(os_, name.dir->fd(), name.name, twin_->key); !removed) {
      tally_.AddFailed(name, removed.error());
      KeepClaims();
    }
  }
  if (begin_ < end_) {
    SyncUndone();
  }
}

PlainFile PackJob::Plain() const {
  return {.fd = fd(), .attributes = file_.attributes, .path = file_.path()};
}

StoredEntry PackJob::AsPlain(const FoundFile& name) const {
  StoredEntry plain;
  plain.logical_name = StripEscape(name.name).value_or(name.name);
  plain.attributes = file_.attributes;
  return plain;
}

Result<bool> PackJob::TryMake() {
  XZFS_RETURN_IF_ERROR(context_.dry_run ? Open() : OpenLocked());
  if (!context_.dry_run) {
    XZFS_RETURN_IF_ERROR(CheckUnopened(os_, Plain()));
  }
  bytes_ = std::make_unique<StoredFile>(os_, fd(), old_bytes());
  for (const FoundFile& name : names_) {
    XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(name.name, *bytes_));
    if (compressed) {
      return Skip("already compressed");
    }
    if (CompressedNameOfPlain(name.name).size() > NAME_MAX) {
      return Skip("its name is too long for .xz behind it");
    }
  }
  if (context_.keep && context_.names.LooksPacked(dir_fd(), AsPlain(file_)).value_or(false)) {
    return Skip("already packed and kept");
  }
  XZFS_ASSIGN_OR_RETURN(const bool worth_it, IsWorthIt());
  return worth_it ? Encode() : false;
}

// Whether the file is left plain if that saves too little.
bool PackJob::MustShrink() const {
  return std::all_of(names_.begin(), names_.end(),
                     [](const FoundFile& name) { return SavingRule::IsFor(name.name); });
}

// Returns false, and has reported why, if the file would not shrink, or if this is a dry run.
Result<bool> PackJob::IsWorthIt() {
  use_ = DiskUse::Of(os_, fd(), file_.attributes);
  if (MustShrink() && context_.saving.IsHopeless(file_.attributes)) {
    return Skip("would not shrink");
  }
  if (context_.dry_run) {
    return Estimate();
  }
  if (MustShrink()) {
    XZFS_ASSIGN_OR_RETURN(const bool looks_worth_it,
                          LooksWorthIt(context_.saving, use_, *bytes_, context_.encoders,
                                       context_.options, &progress_.cancelled()));
    return looks_worth_it ? true : Skip("would not shrink");
  }
  return true;
}

// Tells what would be done, and returns false.
Result<bool> PackJob::Estimate() {
  XZFS_ASSIGN_OR_RETURN(const double ratio,
                        EstimateRatio(*bytes_, context_.encoders, context_.options));
  const auto stored = static_cast<uint64_t>(ratio * static_cast<double>(old_bytes()));
  if (MustShrink() && !context_.saving.IsWorthIt(use_, stored)) {
    return Skip("would not shrink");
  }
  tally_.AddDone(file_.path(), ResultOf(stored));
  Count(old_bytes(), stored);
  return false;
}

Result<bool> PackJob::Encode() {
  XZFS_RETURN_IF_ERROR(MakeTemp());
  request_.plain = bytes_.get();
  request_.options = context_.options;
  request_.cancelled = &progress_.cancelled();
  request_.on_written = [this](uint64_t plain, uint64_t stored) { Count(plain, stored); };
  request_.plan = XzPlan(old_bytes(), context_.encoders.block_bytes());
  const int out = temp_.file.get();
  XZFS_ASSIGN_OR_RETURN(written_, WriteXz(os_, context_.encoders, request_, out));
  if (MustShrink() && !context_.saving.IsWorthIt(use_, written_.stored_bytes)) {
    return Skip("would not shrink");
  }
  XZFS_RETURN_IF_ERROR(GiveMetadata());
  XZFS_RETURN_IF_ERROR(VerifyXz(os_, context_.encoders, request_, written_, out));
  return true;
}

// With --keep the two are separate files, and nothing is claimed.
Status PackJob::TryClaim() {
  for (const FoundFile& name : names_) {
    if (!context_.keep) {
      XZFS_RETURN_IF_ERROR(
          AddClaim(Claim::Kind::kTwin, name, CompressedNameOfPlain(name.name), temp_.file.get()));
    }
  }
  return {};
}

Result<bool> PackJob::TryPublish() {
  SourceTwins twins(
      os_,
      [this]() -> DescriptorPtr {
        auto top = OpenDirectoryAt(os_, session_->top(), "");
        return top ? std::make_shared<SharedDescriptor>(std::move(*top)) : nullptr;
      },
      HomeTop::kSourceRoot);
  XZFS_ASSIGN_OR_RETURN(twin_,
                        PublishTwin(os_, twins, Plain(), dir_fd(), file_.name, *session_, temp_));
  bool published = twin_.has_value();
  for (end_ = published ? 1 : 0; published && end_ < names_.size(); end_ += published ? 1 : 0) {
    XZFS_ASSIGN_OR_RETURN(published, LinkTwin(twins, names_[end_]));
  }
  if (!published) {
    const FoundFile& name = names_[end_];
    return SkipTaken("compressed", name.dir->PathOf(CompressedNameOfPlain(name.name)));
  }
  return true;
}

// Gives the twin another name, beside that of the plain file. False: another file has that name.
Result<bool> PackJob::LinkTwin(SourceTwins& twins, const FoundFile& name) {
  XZFS_RETURN_IF_ERROR(CheckName(name));
  const std::string twin = CompressedNameOfPlain(file_.name);
  const std::string other = CompressedNameOfPlain(name.name);
  const KeptTimes times(os_, name.dir->fd());
  int error = os_.Link(dir_fd(), twin, name.dir->fd(), other);
  if (error == -EEXIST && twins.RemoveHidden(name.dir->fd(), name.name, other).value_or(false)) {
    error = os_.Link(dir_fd(), twin, name.dir->fd(), other);
  }
  if (error < 0 && error != -EEXIST) {
    return FailErrno(-error, "link the compressed form of " + name.path());
  }
  return error == 0;
}

Result<bool> PackJob::TryFinish() {
  for (; !context_.keep && begin_ < end_; ++begin_) {
    if (begin_ != 0) {
      XZFS_RETURN_IF_ERROR(TakeAttributes());
    }
    const FoundFile& name = names_[begin_];
    XZFS_RETURN_IF_ERROR(RemovePlain(os_, Plain(), name.dir->fd(), name.name, *twin_));
  }
  begin_ = end_;
  return true;
}

Replaced PackJob::ResultOf(uint64_t compressed_bytes) const {
  return {.old_bytes = old_bytes(),
          .new_bytes = compressed_bytes,
          .plain_bytes = old_bytes(),
          .compressed_bytes = compressed_bytes};
}

}  // namespace xzfs
