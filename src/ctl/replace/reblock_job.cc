#include "ctl/replace/reblock_job.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <string>

#include "base/try.h"
#include "cache/xz_reader.h"
#include "ctl/files/damage.h"
#include "ctl/files/input.h"
#include "store/kept_times.h"
#include "store/settle_claims.h"

namespace xzfs {

Result<bool> ReblockJob::TryMake() {
  XZFS_RETURN_IF_ERROR(OpenLocked());
  stored_ = std::make_shared<StoredFile>(os_, fd(), old_bytes());
  XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(file_.name, *stored_));
  if (!compressed || compressed->format != Format::kXz) {
    return Skip("not an .xz file");
  }
  if (file_.attributes.st_nlink > 1) {
    return Skip("has several hard links");
  }
  XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
  if (!usable) {
    return false;
  }
  XZFS_ASSIGN_OR_RETURN(const BlockIndex index, ReadIndex(*stored_, Format::kXz));
  request_.options = OptionsFor(index);
  const std::vector<Check> checks = index.Checks();
  const bool same_check = checks == std::vector<Check>{request_.options.check};
  if (index.block_count() == 0 ||
      (!context_.all && same_check && index.largest_block() <= context_.encoders.block_bytes())) {
    return Skip("already seekable");
  }
  return Encode(index);
}

EncodeOptions ReblockJob::OptionsFor(const BlockIndex& index) const {
  EncodeOptions options = context_.options;
  const std::vector<Check> checks = index.Checks();
  constexpr Check kWritable[] = {Check::kNone, Check::kCrc32, Check::kCrc64, Check::kSha256};
  if (context_.keeps_check && checks.size() == 1 &&
      std::find(std::begin(kWritable), std::end(kWritable), checks[0]) != std::end(kWritable)) {
    options.check = checks[0];
  }
  return options;
}

Result<bool> ReblockJob::Encode(const BlockIndex& index) {
  const XzReader reader(context_.engine, {.identity = Identity::Of(file_.attributes),
                                          .format = Format::kXz,
                                          .plain_size = index.plain_size(),
                                          .stored = stored_,
                                          .name = [this] { return file_.path(); }});
  const BlockNamingFile plain(reader, index);
  request_.plain = &plain;
  request_.cancelled = &progress_.cancelled();
  const double share = static_cast<double>(old_bytes()) / static_cast<double>(index.plain_size());
  request_.on_written = [this, share](uint64_t plain_bytes, uint64_t stored) {
    Count(static_cast<uint64_t>(static_cast<double>(plain_bytes) * share), stored);
  };
  request_.plan = XzPlan(index.plain_size(), context_.encoders.block_bytes());
  XZFS_RETURN_IF_ERROR(MakeTemp());
  const int out = temp_.file.get();
  XZFS_ASSIGN_OR_RETURN(written_, WriteXz(os_, context_.encoders, request_, out));
  XZFS_RETURN_IF_ERROR(GiveMetadata());
  XZFS_RETURN_IF_ERROR(VerifyXz(os_, context_.encoders, request_, written_, out));
  request_.plain = nullptr;
  return true;
}

Status ReblockJob::TryClaim() {
  return AddClaim(Claim::Kind::kAside, file_, session_->NewId() + std::string(kAsideSuffix),
                  temp_.file.get());
}

Result<bool> ReblockJob::TryPublish() {
  XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
  if (!usable) {
    return false;
  }
  // The old form is the temp then, and is removed.
  if (const Status swapped = PutAside(file_, claims_.front(), &temp_); swapped) {
    is_swapped_ = true;
    return true;
  } else if (swapped.error().code != EINVAL) {
    return Failure(swapped.error());
  }
  const KeptTimes times(os_, dir_fd());
  if (const int error = os_.Rename(session_->folder(), temp_.name, dir_fd(), file_.name, 0);
      error < 0) {
    return FailErrno(-error, "rename the new form of " + file_.path());
  }
  temp_.name.clear();
  return true;
}

void ReblockJob::Abandon(const Error& error) {
  ReplaceJob::Abandon(error);
  if (is_swapped_) {  // and perhaps not on the disk: the old form stays
    temp_.name.clear();
    KeepClaims();
  }
}

}  // namespace xzfs
