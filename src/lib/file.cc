#include "xzfs/file.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <utility>

#include "base/try.h"
#include "lib/block_writer.h"
#include "lib/opened_file.h"
#include "store/atomic_file.h"
#include "store/xz_writer.h"
#include "xzfs/reader.h"

namespace xzfs {
namespace {

// Enough Blocks of 1 MiB for some threads.
constexpr uint64_t kStepBytes = uint64_t{16} << 20;
// For a file that says it's empty, and may not be.
constexpr uint64_t kLeastStepBytes = uint64_t{64} << 10;

// Before anything is in the file: who may not read the original doesn't read this.
Status CopyMode(const struct stat& from, int to) {
  const int error = Os::Real().FChangeMode(to, from.st_mode & 0777);
  return error < 0 ? Status(FailErrno(-error, "set the mode of the new file")) : Status();
}

Status CopyTimes(const struct stat& from, int to) {
  const struct timespec times[2] = {from.st_atim, from.st_mtim};
  const int error = Os::Real().FSetTimes(to, times);
  return error < 0 ? Status(FailErrno(-error, "set the times of the new file")) : Status();
}

}  // namespace

Result<Bytes> ReadFile(const std::string& path) {
  XZFS_ASSIGN_OR_RETURN(const std::unique_ptr<Reader> reader, Reader::Open(path));
  return reader->ReadAt(0, reader->size());
}

Status WriteFile(const std::string& path, std::span<const std::byte> plain,
                 const WriterOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Writer writer, Writer::Create(path, options));
  XZFS_RETURN_IF_ERROR(writer.Write(plain));
  return writer.Close();
}

Status CompressFile(const std::string& from, const std::string& to,
                    const WriterOptions& options) try {
  XZFS_ASSIGN_OR_RETURN(const auto plain, OpenedFile::Open(from));
  XZFS_RETURN_IF_ERROR(ValidateOptions(options));
  XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(to));
  BlockWriter writer(std::move(file), options, options.check.value_or(Check::kCrc64));
  XZFS_RETURN_IF_ERROR(CopyMode(plain->attributes(), writer.fd()));
  XZFS_RETURN_IF_ERROR(writer.Begin());
  Bytes buffer(static_cast<size_t>(std::clamp(plain->size(), kLeastStepBytes, kStepBytes)));
  size_t got = buffer.size();
  for (uint64_t at = 0; got == buffer.size(); at += got) {
    XZFS_ASSIGN_OR_RETURN(got, plain->ReadAt(at, buffer));
    XZFS_RETURN_IF_ERROR(writer.Write(std::span(buffer).first(got)));
  }
  XZFS_RETURN_IF_ERROR(writer.Finish());
  XZFS_RETURN_IF_ERROR(plain->CheckUnchanged());
  XZFS_RETURN_IF_ERROR(CopyTimes(plain->attributes(), writer.fd()));
  return writer.Publish();
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to compress " + from);
}

Status DecompressFile(const std::string& from, const std::string& to) try {
  XZFS_ASSIGN_OR_RETURN(const auto compressed, OpenedFile::Open(from));
  XZFS_ASSIGN_OR_RETURN(const std::unique_ptr<Reader> reader, Reader::Open(compressed, from));
  XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(to));
  XZFS_RETURN_IF_ERROR(CopyMode(compressed->attributes(), file.fd()));
  Bytes buffer(static_cast<size_t>(std::min(reader->size(), kStepBytes)));
  for (uint64_t at = 0; at < reader->size();) {
    XZFS_ASSIGN_OR_RETURN(const size_t got, reader->ReadAt(at, std::span(buffer)));
    XZFS_RETURN_IF_ERROR(WriteFully(Os::Real(), file.fd(), std::span(buffer).first(got), at));
    at += got;
  }
  XZFS_RETURN_IF_ERROR(CopyTimes(compressed->attributes(), file.fd()));
  return file.Publish({});
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to decompress " + from);
}

}  // namespace xzfs
