#include "ctl/unpack_job.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "ctl/block_pass.h"
#include "ctl/input.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/plain_commit.h"
#include "store/xz_writer.h"

namespace xzfs {
namespace {

constexpr uint64_t kIndexMemory = uint64_t{1} << 30;
constexpr size_t kCompareBytes = size_t{1} << 20;
// Zeros of a whole such part become a hole: the block size of nearly all file systems.
constexpr size_t kHoleBytes = 4096;

bool IsZero(std::span<const std::byte> bytes) {
  return bytes[0] == std::byte{0} && std::memcmp(bytes.data(), &bytes[1], bytes.size() - 1) == 0;
}

// Writes into a file that is all holes.
Status WriteSparsely(Os& os, int fd, uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // Up to the next border, then whole parts: those in a row that are written are one call.
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
  XZFS_RETURN_IF_ERROR(Open(/*lock=*/true));
  stored_ = std::make_unique<StoredFile>(os_, fd(), old_bytes());
  XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(file_.name, *stored_));
  if (!compressed) {
    return Skip("not compressed");
  }
  if (file_.attributes.st_nlink > 1) {
    return Skip("with several hard links");
  }
  XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
  if (!usable) {
    return false;
  }
  plain_name_ = HotNameOf(compressed->logical);
  XZFS_ASSIGN_OR_RETURN(const BlockIndex index, BlockIndex::Read(*stored_, compressed->format,
                                                                 {.memory_bytes = kIndexMemory}));
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
                    progress_.AddDone(0, static_cast<uint64_t>(share * stored_size), bytes.size());
                    return WriteSparsely(os_, out, offset, bytes);
                  });
}

Result<bool> UnpackJob::TryPublish() {
  XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
  if (!usable) {
    return false;
  }
  const KeptTimes times(os_, dir_fd());
  const int error = RenameOverNothing(os_, session_->folder(), temp_.name, dir_fd(), plain_name_);
  if (error == 0) {
    temp_.name.clear();
    return true;
  }
  if (error != -EEXIST) {
    return FailErrno(-error, "rename the plain form of " + file_.path());
  }
  XZFS_ASSIGN_OR_RETURN(const bool same, IsMadeAlready());
  return same ? true : Skip("its plain name is taken by another file");
}

// What an unpack left that was cut off, or a pack that keeps: the same bytes and times.
Result<bool> UnpackJob::IsMadeAlready() {
  const Descriptor there(os_, os_.OpenBeneath(dir_fd(), plain_name_, O_RDONLY | O_NONBLOCK));
  struct stat st = {};
  if (!there.valid() || os_.FStat(there.get(), &st) < 0 || !S_ISREG(st.st_mode) ||
      static_cast<uint64_t>(st.st_size) != plain_size_ ||
      st.st_mtim.tv_sec != file_.attributes.st_mtim.tv_sec ||
      st.st_mtim.tv_nsec != file_.attributes.st_mtim.tv_nsec) {
    return false;
  }
  return HaveSameBytes(os_, there.get(), temp_.file.get(), plain_size_);
}

// The plain one has its name, and counts: whatever happens here loses nothing.
Status UnpackJob::TryFinish() {
  if (context_.keep) {
    return {};
  }
  XZFS_ASSIGN_OR_RETURN(const bool current,
                        IsCurrent(os_, dir_fd(), file_.name, Identity::Of(file_.attributes)));
  if (!current) {
    return Fail(ESTALE, file_.path() + " was changed");
  }
  const KeptTimes times(os_, dir_fd());
  if (const int error = os_.Unlink(dir_fd(), file_.name, 0); error < 0) {
    return FailErrno(-error, "remove " + file_.path());
  }
  return {};
}

}  // namespace xzfs
