#include "xzfs/files.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <string>
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

// To be called before anything is in the file: a user who may not read the original may not read
// the copy, either.
Status CopyMode(const struct stat& from, int to) {
  const int error = Os::Real().FChangeMode(to, from.st_mode & 0777);
  return error < 0 ? Status(FailErrno(-error, "set the mode of the new file")) : Status();
}

Status CopyTimes(const struct stat& from, int to) {
  const struct timespec times[2] = {from.st_atim, from.st_mtim};
  const int error = Os::Real().FSetTimes(to, times);
  return error < 0 ? Status(FailErrno(-error, "set the times of the new file")) : Status();
}

// Whether to go on.
Status Tell(const Progress& progress, uint64_t done_bytes, uint64_t total_bytes) {
  return !progress || progress(done_bytes, total_bytes)
             ? Status()
             : Fail(ECANCELED, "the progress function cancelled it");
}

// Errors: kOverLimit.
Status CheckSize(const std::string& path, const Reader& reader, const ReadFileOptions& options) {
  if (reader.size() > options.most_plain_bytes) {
    return Fail(EFBIG, path + " holds " + std::to_string(reader.size()) +
                           " plain bytes, more than most_plain_bytes, which is " +
                           std::to_string(options.most_plain_bytes));
  }
  return {};
}

}  // namespace

Result<Bytes> ReadFile(const std::filesystem::path& path, const ReadFileOptions& options,
                       const Progress& progress) try {
  XZFS_ASSIGN_OR_RETURN(const Reader reader, Reader::Open(path, options.cache));
  XZFS_RETURN_IF_ERROR(CheckSize(path.string(), reader, options));
  const uint64_t size = reader.size();
  Bytes plain(static_cast<size_t>(size));
  for (uint64_t at = 0; at < size;) {
    const uint64_t step = progress ? std::min(kStepBytes, size - at) : size;
    XZFS_ASSIGN_OR_RETURN(const size_t got, reader.ReadAt(at, std::span(plain).subspan(at, step)));
    at += got;
    XZFS_RETURN_IF_ERROR(Tell(progress, at, size));
  }
  return plain;
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory for all of " + path.string());
}

Status WriteFile(const std::filesystem::path& path, std::span<const std::byte> plain,
                 const WriterOptions& options) {
  XZFS_ASSIGN_OR_RETURN(Writer writer, Writer::Create(path, options));
  XZFS_RETURN_IF_ERROR(writer.Write(plain));
  return writer.Close();
}

Status WriteFile(const std::filesystem::path& path, std::string_view plain,
                 const WriterOptions& options) {
  return WriteFile(path, BytesOf(plain), options);
}

Status CompressFile(const std::filesystem::path& from, const std::filesystem::path& to,
                    const WriterOptions& options, const Progress& progress) try {
  XZFS_ASSIGN_OR_RETURN(const auto plain, OpenedFile::Open(from.string()));
  XZFS_RETURN_IF_ERROR(ValidateOptions(options));
  XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(to.string()));
  BlockWriter writer(BlockWriter::Output(std::move(file)), options,
                     options.check.value_or(Check::kCrc64));
  XZFS_RETURN_IF_ERROR(CopyMode(plain->attributes(), writer.fd()));
  XZFS_RETURN_IF_ERROR(writer.Begin());
  Bytes buffer(static_cast<size_t>(std::clamp(plain->size(), kLeastStepBytes, kStepBytes)));
  size_t got = buffer.size();
  for (uint64_t at = 0; got == buffer.size(); at += got) {
    XZFS_ASSIGN_OR_RETURN(got, plain->ReadAt(at, buffer));
    XZFS_RETURN_IF_ERROR(writer.Write(std::span(buffer).first(got)));
    XZFS_RETURN_IF_ERROR(Tell(progress, at + got, std::max(at + got, plain->size())));
  }
  XZFS_RETURN_IF_ERROR(writer.Finish());
  XZFS_RETURN_IF_ERROR(plain->CheckUnchanged());
  XZFS_RETURN_IF_ERROR(CopyTimes(plain->attributes(), writer.fd()));
  return writer.Publish();
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to compress " + from.string());
}

Status DecompressFile(const std::filesystem::path& from, const std::filesystem::path& to,
                      const ReadFileOptions& options, const Progress& progress) try {
  XZFS_ASSIGN_OR_RETURN(const auto compressed, OpenedFile::Open(from.string()));
  XZFS_ASSIGN_OR_RETURN(const Reader reader,
                        Reader::Open(compressed, from.string(), options.cache));
  XZFS_RETURN_IF_ERROR(CheckSize(from.string(), reader, options));
  XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(to.string()));
  XZFS_RETURN_IF_ERROR(CopyMode(compressed->attributes(), file.fd()));
  Bytes buffer(static_cast<size_t>(std::min(reader.size(), kStepBytes)));
  for (uint64_t at = 0; at < reader.size();) {
    XZFS_ASSIGN_OR_RETURN(const size_t got, reader.ReadAt(at, std::span(buffer)));
    XZFS_RETURN_IF_ERROR(WriteFully(Os::Real(), file.fd(), std::span(buffer).first(got), at));
    at += got;
    XZFS_RETURN_IF_ERROR(Tell(progress, at, reader.size()));
  }
  XZFS_RETURN_IF_ERROR(CopyTimes(compressed->attributes(), file.fd()));
  return file.Publish({});
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "no memory to decompress " + from.string());
}

}  // namespace xzfs
