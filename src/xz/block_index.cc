// The index is one array, a record for each Block in the file's order. A Block's plain size is the
// distance to the next record, and a binary search finds the Block that has a byte. The Check is
// mostly the same everywhere, so it is stored in runs.
//
// The builder gets the Streams from the file's end, so it builds the array backwards: EndStream
// turns the Blocks of a Stream around, and Finish turns everything and makes offsets of sizes.
//
// A file may claim any number of Blocks. BeginStream therefore compares the room for them with the
// limit before it reserves it; AddBlock never allocates. The sum of the plain sizes is checked
// here; the readers of the formats (block_index_builder.h) check that Blocks lie inside the file.
#include "xzfs/block_index.h"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <new>
#include <utility>

#include "base/try.h"
#include "xz/block_index_builder.h"
#include "xz/format.h"

namespace xzfs {

namespace {

// Everywhere else file offsets are signed.
constexpr uint64_t kLargestPlainSize = INT64_MAX;

}  // namespace

Result<BlockIndex> BlockIndex::Read(const RandomAccessFile& file, Format format,
                                    const BlockIndexOptions& options) try {
  if (format == Format::kAuto) {
    XZFS_ASSIGN_OR_RETURN(format, FormatOf(file));
  }
  switch (format) {
    case Format::kXz:
      return ReadXzIndex(file, options);
    case Format::kLzmaAlone:
      return ReadLzmaAloneIndex(file, options);
    case Format::kLzip:
      return ReadLzipIndex(file, options);
    case Format::kRaw:
    case Format::kAuto:
      break;
  }
  return Fail(EINVAL, "not a format that has an index");
} catch (const std::bad_alloc&) {
  return Fail(ENOMEM, "out of memory while reading the Index");
}

uint64_t BlockIndex::memory_bytes() const {
  return sizeof(*this) + records_.capacity() * sizeof(Record) +
         check_runs_.capacity() * sizeof(CheckRun);
}

std::vector<Check> BlockIndex::Checks() const {
  std::vector<Check> checks;
  for (const CheckRun& run : check_runs_) {
    if (std::find(checks.begin(), checks.end(), run.check) == checks.end()) {
      checks.push_back(run.check);
    }
  }
  return checks;
}

BlockInfo BlockIndex::Block(uint64_t number) const {
  assert(number < block_count());
  const Record& record = records_[number];
  const uint64_t plain_end =
      number + 1 < block_count() ? records_[number + 1].plain_offset : plain_size_;
  const auto run = std::prev(std::upper_bound(
      check_runs_.begin(), check_runs_.end(), number,
      [](uint64_t wanted, const CheckRun& at) { return wanted < at.first_block; }));
  BlockInfo block;
  block.number = number;
  block.plain_offset = record.plain_offset;
  block.plain_size = plain_end - record.plain_offset;
  block.compressed_offset = record.compressed_offset;
  block.unpadded_size = record.unpadded_size;
  block.check = run->check;
  return block;
}

BlockInfo BlockIndex::Find(uint64_t plain_offset) const {
  assert(plain_offset < plain_size_);
  // The last Block that begins at or before the byte. Empty Blocks at the same offset come before
  // the one that holds the byte; empty Blocks right after it begin behind the byte.
  const auto after =
      std::upper_bound(records_.begin(), records_.end(), plain_offset,
                       [](uint64_t wanted, const Record& at) { return wanted < at.plain_offset; });
  return Block(static_cast<uint64_t>(after - records_.begin()) - 1);
}

BlockIndexBuilder::BlockIndexBuilder(Format format, const BlockIndexOptions& limits)
    : limits_(limits) {
  index_.format_ = format;
}

uint64_t BlockIndexBuilder::Room(uint64_t transient_bytes) const {
  const uint64_t held = memory_bytes() + transient_bytes;
  return held < limits_.memory_limit_bytes ? limits_.memory_limit_bytes - held : 0;
}

Status BlockIndexBuilder::BeginStream(Check check, uint64_t block_count, uint64_t transient_bytes) {
  index_.stream_count_ += 1;
  stream_begin_ = index_.records_.size();
  if (block_count == 0) {
    return {};
  }
  // The first Stream, usually the only one, gets exactly what it needs. For a file of many Streams
  // the room grows by half each time, so that not every Stream moves all records.
  uint64_t capacity = index_.records_.capacity();
  uint64_t growth = 0;
  if (block_count > capacity - stream_begin_) {
    const uint64_t extra = std::max(block_count, stream_begin_ / 2);
    growth = extra > limits_.memory_limit_bytes ? UINT64_MAX : stream_begin_ + extra;
    capacity = growth;
  }
  // For a moment the old and the new records exist together. A run of Checks may be added, and then
  // their vector doubles.
  const uint64_t runs = (index_.check_runs_.size() + 1) * 2 * sizeof(BlockIndex::CheckRun);
  const uint64_t room = Room(transient_bytes);
  if (room < runs || growth > (room - runs) / sizeof(BlockIndex::Record)) {
    return Fail(EFBIG, "the Index has so many Blocks that reading it needs more than " +
                           std::to_string(limits_.memory_limit_bytes) +
                           " bytes of memory; raise the limit, or compress with larger Blocks");
  }
  index_.records_.reserve(static_cast<size_t>(capacity));
  if (index_.check_runs_.empty() || index_.check_runs_.back().check != check) {
    index_.check_runs_.push_back({stream_begin_, check});
  }
  return {};
}

Status BlockIndexBuilder::AddBlock(uint64_t compressed_offset, uint64_t unpadded_size,
                                   uint64_t plain_size) {
  assert(index_.records_.size() < index_.records_.capacity());
  if (plain_size > kLargestPlainSize - index_.plain_size_) {
    return Fail(EIO, "the sizes of the Blocks add up to more than 2^63 - 1 bytes");
  }
  index_.plain_size_ += plain_size;
  index_.largest_block_ = std::max(index_.largest_block_, plain_size);
  index_.records_.push_back({plain_size, compressed_offset, unpadded_size});
  return {};
}

void BlockIndexBuilder::EndStream() {
  std::reverse(index_.records_.begin() + static_cast<ptrdiff_t>(stream_begin_),
               index_.records_.end());
}

BlockIndex BlockIndexBuilder::Finish() {
  auto& records = index_.records_;
  auto& runs = index_.check_runs_;
  if (records.capacity() - records.size() > records.size() / 8 &&
      records.size() * sizeof(BlockIndex::Record) <= Room(0)) {
    records.shrink_to_fit();
  }
  std::reverse(records.begin(), records.end());
  uint64_t plain_offset = 0;
  for (BlockIndex::Record& record : records) {
    plain_offset += std::exchange(record.plain_offset, plain_offset);
  }
  // A run that had its first Block behind_first Blocks from the end now has its last there.
  for (size_t i = 0; i < runs.size(); ++i) {
    const uint64_t behind_last = i + 1 < runs.size() ? runs[i + 1].first_block : records.size();
    runs[i].first_block = records.size() - behind_last;
  }
  std::reverse(runs.begin(), runs.end());
  return std::exchange(index_, BlockIndex());
}

}  // namespace xzfs
