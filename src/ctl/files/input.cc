#include "ctl/files/input.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/machine.h"
#include "base/try.h"
#include "ctl/files/block_pass.h"
#include "ctl/files/damage.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/mounts/mounted_file.h"
#include "store/names.h"
#include "store/source_dir.h"
#include "store/xz_writer.h"
#include "xz/format.h"

namespace xzfs {
namespace {

// The memory that reading an Index may take, enough for 25 million Blocks. The user asked for this
// one file.
constexpr uint64_t kIndexMemory = uint64_t{1} << 30;
// As a mount's cache_size by default: a quarter of the memory, in bounds.
constexpr uint64_t kLeastBudget = uint64_t{32} << 20;
constexpr uint64_t kMostBudget = uint64_t{1} << 30;
constexpr uint64_t kWholeBlockBytes = uint64_t{32} << 20;

Error Named(const Input& input, Error error) {
  error.message = input.path + ": " + error.message;
  return error;
}

}  // namespace

Result<Input> OpenInput(Os& os, const std::string& path) {
  XZFS_ASSIGN_OR_RETURN(auto mounted, MountedFile::Open(path));
  if (mounted == nullptr || mounted->state() == MountedFile::State::kPlain) {
    return OpenAsShown(os, path);
  }
  // A file that is named as a compressed one, and shown as one: the user means what it shows.
  const std::string name = path.substr(path.rfind('/') + 1);
  if (StripSuffix(name)) {
    Result<Input> shown = OpenAsShown(os, path);
    if (shown && CompressedNameOf(name, *shown->stored).value_or(std::nullopt)) {
      return shown;
    }
  }
  Input input;
  input.path = path;
  input.descriptor = Descriptor(os, fcntl(mounted->fd(), F_DUPFD_CLOEXEC, 0));
  if (const int error = os.FStat(mounted->fd(), &input.attributes); error < 0) {
    return FailErrno(-error, path);
  }
  input.is_edited = mounted->state() == MountedFile::State::kEdited;
  input.stored = std::move(mounted);
  return input;
}

Result<Input> OpenAsShown(Os& os, const std::string& path) {
  Input input;
  input.path = path;
  // A FIFO must not keep us waiting; for regular files O_NONBLOCK means nothing.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    return FailErrno(errno, path);
  }
  input.descriptor = Descriptor(os, fd);
  if (const int error = os.FStat(fd, &input.attributes); error < 0) {
    return FailErrno(-error, path);
  }
  if (S_ISDIR(input.attributes.st_mode)) {
    return Fail(EISDIR, path + " is a directory: name the files in it");
  }
  if (!S_ISREG(input.attributes.st_mode)) {
    return Fail(EINVAL, path + " is not a regular file");
  }
  input.stored =
      std::make_unique<StoredFile>(os, fd, static_cast<uint64_t>(input.attributes.st_size));
  return input;
}

ReadEngine::Limits DefaultEngineLimits(unsigned threads) {
  const uint64_t budget = std::clamp(UsableMemory() / 4, kLeastBudget, kMostBudget);
  return {.budget_bytes = budget,
          .threads = threads,
          .whole_block_bytes = std::min(kWholeBlockBytes, budget / 8),
          .memory_limit_bytes = kDecoderBytes};
}

Result<Format> FormatOf(const Input& input) {
  std::array<std::byte, kFormatProbeBytes> bytes = {};
  const Result<size_t> got = input.stored->ReadAt(0, bytes);
  if (!got) {
    return Failure(Named(input, got.error()));
  }
  if (const auto format = FormatByHead(std::span(bytes).first(*got))) {
    return *format;
  }
  if (IsInMount(input.descriptor.get())) {
    return Fail(
        EINVAL,
        input.path + " is not compressed: the mount stores it plain (xzfsctl info says why)");
  }
  return Fail(EINVAL, input.path +
                          " is not an .xz, .lzma or .lz file. (If only its first bytes are "
                          "damaged, xzfsctl salvage saves the rest.)");
}

Result<BlockIndex> ReadIndex(const RandomAccessFile& stored, Format format) {
  Result<BlockIndex> index = BlockIndex::Read(stored, format, {.memory_limit_bytes = kIndexMemory});
  if (!index) {
    return Failure(DamageOfIndex(format, std::move(index.error())));
  }
  return index;
}

Result<BlockIndex> ReadIndexOf(const Input& input) {
  XZFS_ASSIGN_OR_RETURN(const Format format, FormatOf(input));
  Result<BlockIndex> index = ReadIndex(*input.stored, format);
  if (!index) {
    return Failure(Named(input, std::move(index.error())));
  }
  return index;
}

Result<std::optional<CompressedName>> CompressedNameOf(const std::string& name,
                                                       const RandomAccessFile& stored) {
  auto stripped = StripSuffix(name);
  if (!stripped) {
    return std::nullopt;
  }
  std::array<std::byte, kFormatProbeBytes> bytes = {};
  XZFS_ASSIGN_OR_RETURN(const size_t got, stored.ReadAt(0, bytes));
  const auto format = FormatBySuffix(stripped->suffix, std::span(bytes).first(got));
  if (!format) {
    return std::nullopt;
  }
  return CompressedName{std::move(stripped->logical), *format};
}

}  // namespace xzfs
