// Parts are drawn without replacement, each with a chance in proportion to its data (Efraimidis and
// Spirakis): a part gets the key log(random) / weight, and those with the greatest keys are kept,
// in the order of their keys. So one pass is enough, and the memory does not grow with the tree.
// The generator has a fixed seed.
//
// A plain file that has fewer blocks than its size has holes. Its parts then count less, by the
// share that is data.
#include "ctl/bench/bench_sample.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <span>

#include "base/try.h"
#include "ctl/files/block_pass.h"
#include "ctl/files/input.h"
#include "ctl/files/seekability.h"
#include "store/names.h"

namespace xzfs {
namespace {

// 16 GiB: more than is ever encoded.
constexpr size_t kMostParts = 4096;
constexpr uint64_t kStatBlockBytes = 512;
constexpr size_t kMostErrors = 20;

struct Drawn {
  double key = 0;
  BenchPart part;
  // The least key is on top of the queue.
  bool operator<(const Drawn& other) const { return key > other.key; }
};

class Drawing {
 public:
  explicit Drawing(Os& os) : os_(os) {}

  void Visit(const FoundFile& file) {
    if (file.attributes.st_nlink > 1 &&
        !linked_.insert({file.attributes.st_dev, file.attributes.st_ino}).second) {
      return;  // another name of a file that was seen
    }
    BenchPart whole;
    whole.path = file.path();
    whole.file_size = static_cast<uint64_t>(file.attributes.st_size);
    whole.allocated_bytes = static_cast<uint64_t>(file.attributes.st_blocks) * kStatBlockBytes;
    if (StripSuffix(file.name)) {
      const auto plain_size = PlainSizeOf(file);
      if (!plain_size) {
        AddError(file.path(), plain_size.error().message);
        return;
      }
      whole.is_compressed = plain_size->has_value();
      whole.file_size = plain_size->value_or(whole.file_size);
    }
    ++sample_.files;
    sample_.compressed_files += whole.is_compressed ? 1 : 0;
    sample_.plain_bytes += whole.file_size;
    sample_.allocated_bytes += whole.allocated_bytes;
    DrawFrom(whole);
  }

  void AddError(const std::string& path, const std::string& message) {
    if (sample_.errors.size() < kMostErrors) {
      sample_.errors.emplace_back(path, message);
    }
  }

  BenchSample Take(bool is_complete) {
    sample_.is_complete = is_complete;
    while (!drawn_.empty()) {
      sample_.parts.push_back(drawn_.top().part);
      drawn_.pop();
    }
    std::reverse(sample_.parts.begin(), sample_.parts.end());
    return std::move(sample_);
  }

 private:
  // Nothing if the file is not compressed.
  Result<std::optional<uint64_t>> PlainSizeOf(const FoundFile& file) {
    XZFS_ASSIGN_OR_RETURN(const Input input, OpenInput(os_, file.path()));
    XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(file.name, *input.stored));
    if (!compressed) {
      return std::nullopt;
    }
    XZFS_ASSIGN_OR_RETURN(const BlockIndex index, ReadIndexOf(input));
    return index.plain_size();
  }

  void DrawFrom(const BenchPart& whole) {
    if (whole.file_size == 0 || (whole.allocated_bytes == 0 && !whole.is_compressed)) {
      return;
    }
    const double share = whole.is_compressed
                             ? 1
                             : std::min(1.0, static_cast<double>(whole.allocated_bytes) /
                                                 static_cast<double>(whole.file_size));
    sample_.data_bytes += static_cast<uint64_t>(static_cast<double>(whole.file_size) * share);
    for (uint64_t offset = 0; offset < whole.file_size; offset += kBenchPartBytes) {
      const uint64_t size = std::min(kBenchPartBytes, whole.file_size - offset);
      const double key = std::log(chance_(random_)) / (static_cast<double>(size) * share);
      if (drawn_.size() == kMostParts && key <= drawn_.top().key) {
        continue;
      }
      BenchPart part = whole;
      part.offset = offset;
      part.size = size;
      drawn_.push({key, std::move(part)});
      if (drawn_.size() > kMostParts) {
        drawn_.pop();
      }
    }
  }

  Os& os_;
  BenchSample sample_;
  std::set<std::pair<dev_t, ino_t>> linked_;
  std::priority_queue<Drawn> drawn_;
  std::minstd_rand random_{1};
  std::uniform_real_distribution<double> chance_{1e-9, 1.0};
};

// Where to decode a part of a compressed file: there, or at the beginning of its Block if most of
// that lies before.
uint64_t NearestStart(const BlockIndex& index, uint64_t offset) {
  const BlockInfo block = index.Find(offset);
  return offset - block.plain_offset > kFairBlockBytes ? block.plain_offset : offset;
}

Result<std::vector<std::byte>> DecodePart(const Input& input, const BenchPart& part,
                                          const std::atomic<bool>& cancelled) {
  XZFS_ASSIGN_OR_RETURN(const BlockIndex index, ReadIndexOf(input));
  if (part.offset + part.size > index.plain_size()) {
    return Fail(ESTALE, part.path + " changed meanwhile");
  }
  const uint64_t begin = NearestStart(index, part.offset);
  const uint64_t end = begin + part.size;
  std::vector<std::byte> bytes;
  bytes.reserve(part.size);
  while (begin + bytes.size() < end) {
    const BlockInfo block = index.Find(begin + bytes.size());
    // Ends the Block early when the part is complete.
    const Status passed = PassBlock(
        *input.stored, index, block, cancelled,
        [&](uint64_t offset, std::span<const std::byte> got) -> Status {
          const uint64_t from = std::clamp(begin + bytes.size(), offset, offset + got.size());
          const uint64_t to = std::clamp(end, from, offset + got.size());
          const auto wanted = got.subspan(from - offset, to - from);
          bytes.insert(bytes.end(), wanted.begin(), wanted.end());
          return bytes.size() < part.size ? Status() : Status(Fail(EXFULL, "complete"));
        });
    if (!passed && passed.error().code != EXFULL) {
      return Fail(passed.error().code, part.path + ": " + passed.error().message);
    }
  }
  return bytes;
}

}  // namespace

BenchSample DrawSample(Os& os, const TreeRules& rules, const std::vector<std::string>& paths,
                       const std::atomic<bool>& cancelled,
                       std::chrono::steady_clock::time_point end) {
  Drawing drawing(os);
  std::atomic<bool> stop{false};
  WalkTrees(
      os, rules, paths, stop,
      [&](const FoundFile& file) {
        drawing.Visit(file);
        stop = stop || cancelled || std::chrono::steady_clock::now() >= end;
      },
      [&](const std::string& path, const Error& error) { drawing.AddError(path, error.message); });
  return drawing.Take(!stop);
}

Result<std::vector<std::byte>> ReadPart(Os& os, const BenchPart& part,
                                        const std::atomic<bool>& cancelled) {
  XZFS_ASSIGN_OR_RETURN(const Input input, OpenInput(os, part.path));
  if (part.is_compressed) {
    return DecodePart(input, part, cancelled);
  }
  const int64_t data =
      os.Seek(input.descriptor.get(), static_cast<int64_t>(part.offset), SEEK_DATA);
  const uint64_t offset = data < 0 ? part.offset : static_cast<uint64_t>(data);
  std::vector<std::byte> bytes(part.size);
  const auto got = input.stored->ReadAt(offset, bytes);
  if (!got) {
    return Fail(got.error().code, part.path + ": " + got.error().message);
  }
  bytes.resize(*got);
  return bytes;
}

}  // namespace xzfs
