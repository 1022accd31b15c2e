// A compressed file that is named on the command line.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/os.h"
#include "cache/read_engine.h"
#include "ctl/shell/progress.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// A regular file, open for reading. Thread-safe.
struct Input {
  std::string path;  // as it was named
  Descriptor descriptor;
  struct stat attributes = {};
  // The compressed bytes. Of a file that a mount of xzfs has compressed these are not the bytes
  // that it shows, and the other members are of the file in the mount.
  std::unique_ptr<RandomAccessFile> stored;
  // Whether such a mount has changes of the file that are not in `stored` yet.
  bool is_edited = false;
};

// Opens `path`, following symlinks. Errors: EISDIR, EINVAL if it is no regular file, what open
// says.
Result<Input> OpenInput(Os& os, const std::string& path);
// The same, but `stored` is always what a program reads at `path`.
Result<Input> OpenAsShown(Os& os, const std::string& path);

// The format that its first bytes show. Errors: EINVAL if it is none that we decode.
Result<Format> FormatOf(const Input& input);

// The Blocks of a file of `format`. Errors: as BlockIndex::Read, and what the user can do.
Result<BlockIndex> ReadIndex(const RandomAccessFile& stored, Format format);

// The Blocks of the file. Errors: as FormatOf and ReadIndex, naming the file.
Result<BlockIndex> ReadIndexOf(const Input& input);

// How a mount shows a compressed file.
struct CompressedName {
  std::string logical;
  Format format = Format::kXz;
};
// Nothing if it has no compressed suffix or no content to match. Errors: what reading it says.
Result<std::optional<CompressedName>> CompressedNameOf(const std::string& name,
                                                       const RandomAccessFile& stored);

// The limits of a ReadEngine for one run of a command: the memory that a mount takes by default, at
// most 1 GiB, and in addition what the files ask for.
ReadEngine::Limits DefaultEngineLimits(unsigned threads);

// Adds what is read of a file to the progress. Thread-safe.
class CountedFile : public RandomAccessFile {
 public:
  // `progress` outlives it.
  CountedFile(std::unique_ptr<RandomAccessFile> file, Progress& progress)
      : file_(std::move(file)), progress_(progress) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    Result<size_t> got = file_->ReadAt(offset, out);
    progress_.AddDone(0, got.value_or(0), 0);
    return got;
  }
  uint64_t size() const override { return file_->size(); }

 private:
  const std::unique_ptr<RandomAccessFile> file_;
  Progress& progress_;
};

}  // namespace xzfs
