// A commit in the other direction. Between the steps the BatchPublisher syncs: the temp before
// TryClaim, the directories before TryFinish.
//
// TryMake locks the compressed file, leaves it if a mount has uncommitted changes of it, and
// decodes it, several Blocks at a time, into a temp that is all holes: aligned 4 KiB of zeros are
// not written. TryClaim adds two claims for each name, in that order: the twin, and the compressed
// file that is put aside. TryPublish names the plain file, over nothing. A file that is there with
// the same bytes and times is taken for it. TryFinish moves the compressed names into the session's
// folder and removes them there. Before each of the last two steps it looks for changes in a mount
// again.
//
// As long as both files have names the plain one hides the compressed one, and what is written to
// it. So `given_` has the names that the destructor takes back. They are forgotten as soon as the
// plain file may be the only one with a name.
#include "ctl/replace/unpack_job.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/try.h"
#include "ctl/files/block_pass.h"
#include "ctl/files/input.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/plain_commit.h"
#include "store/settle_claims.h"
#include "store/xz_writer.h"

namespace xzfs {
namespace {

constexpr size_t kCompareBytes = size_t{1} << 20;
// A whole part of this size that is zeros becomes a hole. It is the block size of nearly all file
// systems.
constexpr size_t kHoleBytes = 4096;

bool IsZero(std::span<const std::byte> bytes) {
  return bytes[0] == std::byte{0} && std::memcmp(bytes.data(), &bytes[1], bytes.size() - 1) == 0;
}

// Writes into a file that is all holes.
Status WriteSparsely(Os& os, int fd, uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // Up to the next border, then whole parts. Parts in a row are written by one call.
    size_t count = 0;
    while (count < bytes.size()) {
      const uint64_t at = offset + count;
      const size_t part = std::min<size_t>(kHoleBytes - at % kHoleBytes, bytes.size() - count);
      if (part == kHoleBytes && IsZero(bytes.subspan(count, part))) {
        break;
      }
      count += part;
    }
    XZFS_RETURN_IF_ERROR(WriteFully(os, fd, bytes.first(count), offset));
    while (count < bytes.size() && (offset + count) % kHoleBytes == 0 &&
           bytes.size() - count >= kHoleBytes && IsZero(bytes.subspan(count, kHoleBytes))) {
      count += kHoleBytes;
    }
    bytes = bytes.subspan(count);
    offset += count;
  }
  return {};
}

bool HasSameMtime(const struct stat& a, const struct stat& b) {
  return a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

Result<bool> HaveSameBytes(Os& os, int a, int b, uint64_t size) {
  const StoredFile first(os, a, size);
  const StoredFile second(os, b, size);
  std::vector<std::byte> left(kCompareBytes);
  std::vector<std::byte> right(kCompareBytes);
  for (uint64_t at = 0; at < size; at += kCompareBytes) {
    const size_t bytes = std::min<uint64_t>(kCompareBytes, size - at);
    XZFS_RETURN_IF_ERROR(ReadFully(first, at, std::span(left).first(bytes)));
    XZFS_RETURN_IF_ERROR(ReadFully(second, at, std::span(right).first(bytes)));
    if (std::memcmp(left.data(), right.data(), bytes) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

Result<bool> UnpackJob::TryMake() {
  XZFS_RETURN_IF_ERROR(OpenLocked());
  stored_ = std::make_unique<StoredFile>(os_, fd(), old_bytes());
  Format format = Format::kXz;
  for (const FoundFile& name : names_) {
    XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(name.name, *stored_));
    if (!compressed) {
      return Skip("not compressed");
    }
    format = compressed->format;
    plain_names_.push_back(PlainNameOf(compressed->logical));
  }
  XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
  if (!usable) {
    return false;
  }
  XZFS_ASSIGN_OR_RETURN(const BlockIndex index, ReadIndex(*stored_, format));
  plain_size_ = index.plain_size();
  XZFS_RETURN_IF_ERROR(MakeTemp());
  XZFS_RETURN_IF_ERROR(Decode(index));
  XZFS_RETURN_IF_ERROR(GiveMetadata());
  return true;
}

Status UnpackJob::Decode(const BlockIndex& index) {
  const int out = temp_.file.get();
  if (const int error = os_.Truncate(out, plain_size_); error < 0) {
    return FailErrno(-error, "make room for the plain form of " + file_.path());
  }
  const auto stored_size = static_cast<double>(old_bytes());
  return PassFile(context_.decoders, context_.threads, *stored_, index, progress_.cancelled(),
                  [&](uint64_t offset, std::span<const std::byte> bytes) -> Status {
                    if (bytes.empty()) {
                      return {};
                    }
                    const double share =
                        static_cast<double>(bytes.size()) / static_cast<double>(plain_size_);
                    Count(static_cast<uint64_t>(share * stored_size), bytes.size());
                    return WriteSparsely(os_, out, offset, bytes);
                  });
}

// Two for each name: that the plain file is beside it, and that it is put aside. With --keep the
// two are separate files, and nothing is claimed.
Status UnpackJob::TryClaim() {
  for (size_t i = 0; i < names_.size() && !context_.keep; ++i) {
    XZFS_RETURN_IF_ERROR(
        AddClaim(Claim::Kind::kTwin, names_[i], plain_names_[i], temp_.file.get()));
    XZFS_RETURN_IF_ERROR(AddClaim(Claim::Kind::kAside, names_[i],
                                  session_->NewId() + std::string(kAsideSuffix), -1));
  }
  return {};
}

Result<bool> UnpackJob::TryPublish() {
  XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
  if (!usable) {
    return false;
  }
  FileFacts made;
  if (const int error = os_.FactsAt(temp_.file.get(), "", &made); error < 0) {
    return FailErrno(-error, "stat the plain form of " + file_.path());
  }
  made_ = StoredKey::Of(made);
  for (size_t i = 0; i < names_.size(); ++i) {
    XZFS_ASSIGN_OR_RETURN(const bool given, GiveName(i));
    if (!given) {
      return false;
    }
  }
  return true;
}

// The plain file counts as soon as it has a name. If it stayed, it would hide what is written to
// the compressed one.
UnpackJob::~UnpackJob() {
  temp_.file = Descriptor();  // or CheckUnopened would take it for a writer
  for (const size_t which : given_) {
    if (const Status taken = TakeNameBack(which); !taken) {
      tally_.AddFailed(names_[which], taken.error());
      KeepClaims();
    }
  }
  if (!given_.empty()) {
    SyncUndone();
  }
}

// Fails if a program has changed the file or may be about to: that would be lost.
Status UnpackJob::TakeNameBack(size_t which) {
  const int dir = names_[which].dir->fd();
  const std::string& name = plain_names_[which];
  const std::string path = names_[which].dir->PathOf(name);
  const Descriptor there(os_, os_.OpenBeneath(dir, name, O_RDONLY | O_NONBLOCK));
  FileFacts facts;
  const int error = there.valid() ? os_.FactsAt(there.get(), "", &facts) : there.get();
  const struct stat& st = facts.attributes;
  const bool is_other = st.st_ino != made_.inode || facts.birth_ns != made_.birth_ns;
  if (error == -ENOENT || (error == 0 && is_other)) {
    return {};  // it was taken away already
  }
  if (error < 0) {
    return FailErrno(-error, "look at " + path);
  }
  const bool changed = static_cast<uint64_t>(st.st_size) != plain_size_ ||
                       !HasSameMtime(st, file_.attributes) ||
                       !CheckUnopened(os_, {.fd = there.get(), .attributes = st, .path = path});
  if (changed) {
    return Fail(EBUSY, path + " was written to already, and stays beside " + names_[which].path() +
                           ", which was changed, too: keep the one you want");
  }
  const KeptTimes times(os_, dir);
  const int removed = os_.Unlink(dir, name, 0);
  return removed < 0 ? FailErrno(-removed, "remove " + path) : Status();
}

// Gives the plain file its name beside that of `names_`. Returns false, and has reported it, if
// another file has the name.
Result<bool> UnpackJob::GiveName(size_t which) {
  const int dir = names_[which].dir->fd();
  const KeptTimes times(os_, dir);
  const int error =
      which == 0 ? RenameOverNothing(os_, session_->folder(), temp_.name, dir, plain_names_[which])
                 : os_.Link(dir_fd(), plain_names_[0], dir, plain_names_[which]);
  if (error == 0) {
    if (which == 0) {
      temp_.name.clear();
    }
    given_.push_back(which);
    return true;
  }
  if (error != -EEXIST) {
    return FailErrno(-error, "name the plain form of " + names_[which].path());
  }
  XZFS_ASSIGN_OR_RETURN(const bool same, IsMadeAlready(which));
  return same ? true : SkipTaken("plain", names_[which].dir->PathOf(plain_names_[which]));
}

// Whether an interrupted unpack, or a pack that keeps, has left the plain file: it has the same
// bytes and times.
Result<bool> UnpackJob::IsMadeAlready(size_t which) {
  const Descriptor there(
      os_, os_.OpenBeneath(names_[which].dir->fd(), plain_names_[which], O_RDONLY | O_NONBLOCK));
  struct stat st = {};
  if (!there.valid() || os_.FStat(there.get(), &st) < 0 || !S_ISREG(st.st_mode) ||
      static_cast<uint64_t>(st.st_size) != plain_size_ || !HasSameMtime(st, file_.attributes)) {
    return false;
  }
  XZFS_ASSIGN_OR_RETURN(const bool same,
                        HaveSameBytes(os_, there.get(), temp_.file.get(), plain_size_));
  // It is about to be the only form.
  const int error = same ? os_.Sync(there.get()) : 0;
  return error < 0 ? FailErrno(-error, "sync the plain form of " + names_[which].path())
                   : Result<bool>(same);
}

Result<bool> UnpackJob::TryFinish() {
  if (context_.keep) {
    given_.clear();
    return true;
  }
  // Changes that began since then would be lost with the compressed form.
  XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
  if (!usable) {
    return false;
  }
  for (size_t i = 0; i < names_.size(); ++i) {
    HeldClaim& claim = claims_[2 * i + 1];
    const Status put = PutAside(names_[i], claim, nullptr);
    if (put || put.error().code != ESTALE) {
      given_.clear();  // the plain form may be the only one under a name
    }
    XZFS_RETURN_IF_ERROR(put);
    session_->Unlink(claim.claim().other);
  }
  return true;
}

}  // namespace xzfs
