// If the Index can be read it says where each Block is. Each is decoded, and a damaged one leaves a
// hole of its size, so all offsets of the output are right (ByIndex).
//
// Else the file is scanned from its start (ByScan). At each offset there is a Stream Header, a
// Block Header, an Index or nothing. A Block is decoded with the Check of its Stream; where that
// isn't sure, with each Check that verifies something, until one fits. A damaged Block ends where
// its header says or where the decoder came to, but only if something stands there. Else the scan
// goes on at the next header, which is searched for from somewhat before the place where the
// decoder noticed the damage. If the size of a loss is unknown, the output goes on directly after
// it.
//
// The file may be made to harm us, so every step goes on at a larger offset, and what a number in
// the file says is only believed if something stands where it leads. Blocks are counted, to compare
// with the Index of their Stream, only as long as none can have been missed.
#include "ctl/files/salvage.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/try.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

using Kind = Landmark::Kind;

// The decoder notices damage somewhat behind it: an LZMA2 chunk has up to 64 KiB, and a chunk with
// a damaged size may swallow as much of what follows.
constexpr uint64_t kNoticedLate = uint64_t{128} << 10;
constexpr uint64_t kFooterBytes = 12;
// LZMA2 doesn't compress better than about 1:7000: a Block Header that says so lies.
constexpr uint64_t kBestRatio = 8192;
// Checks that verify something, the usual ones first.
constexpr std::array<Check, 3> kChecks = {Check::kCrc64, Check::kCrc32, Check::kSha256};

}  // namespace

Result<SalvageReport> Salvage::Run() {
  const auto index =
      BlockIndex::Read(from_, Format::kXz, {.memory_limit_bytes = options_.index_bytes});
  if (!index) {
    output_.NoteIndexError(index.error().message);
  }
  XZFS_RETURN_IF_ERROR(index ? ByIndex(*index) : ByScan());
  return output_.Finish();
}

Status Salvage::ByIndex(const BlockIndex& index) {
  for (uint64_t number = 0; number < index.block_count(); ++number) {
    const BlockInfo info = index.Block(number);
    XZFS_ASSIGN_OR_RETURN(const SalvagedBlock block, Decode({.offset = info.compressed_offset,
                                                             .check = info.check,
                                                             .unpadded_size = info.unpadded_size,
                                                             .plain_size = info.plain_size}));
    if (!block.damage) {
      output_.AddWhole(info.plain_size, info.check);
      continue;
    }
    const uint64_t kept = options_.keeps_partial ? block.plain_bytes : 0;
    XZFS_RETURN_IF_ERROR(output_.SetSize(output_.position() + kept));
    output_.Lose({.block = number,
                  .stored_begin = info.compressed_offset,
                  .stored_end = info.compressed_offset + info.unpadded_size,
                  .plain_size = info.plain_size,
                  .kept_bytes = kept,
                  .why = block.damage->message});
  }
  return output_.SetSize(output_.position());
}

Status Salvage::ByScan() {
  for (uint64_t at = 0; at < from_.size();) {
    const Landmark mark = At(at);
    switch (mark.kind) {
      case Kind::kStreamHeader:
        in_stream_ = true;
        stream_blocks_ = 0;
        counts_ = true;
        check_ = mark.check;
        check_is_sure_ = true;
        at = mark.end;
        break;
      case Kind::kBlockHeader: {
        XZFS_ASSIGN_OR_RETURN(at, TakeBlock(at));
        break;
      }
      case Kind::kIndex:
      case Kind::kDamagedIndex: {
        XZFS_ASSIGN_OR_RETURN(at, EndStream(mark));
        break;
      }
      case Kind::kNothing: {
        XZFS_ASSIGN_OR_RETURN(at, Resync(at));
        break;
      }
    }
  }
  const bool is_said = !output_.report().missing.empty() &&
                       output_.report().missing.back().stored_end == from_.size();
  if ((in_stream_ || from_.size() == 0) && !is_said) {
    output_.Lose({.stored_begin = from_.size(),
                  .stored_end = from_.size(),
                  .why = "the file ends before the Index of its last Stream: it is truncated"});
  }
  return output_.SetSize(output_.position());
}

Result<uint64_t> Salvage::TakeBlock(uint64_t offset) {
  std::vector<SalvagedBlock> tries;
  for (const Check check : ChecksToTry()) {
    XZFS_ASSIGN_OR_RETURN(SalvagedBlock block, Decode({.offset = offset, .check = check}));
    if (!block.damage) {
      output_.AddWhole(block.plain_bytes, check);
      ++stream_blocks_;
      in_stream_ = true;
      check_ = check;
      check_is_sure_ = true;
      return block.end;
    }
    tries.push_back(std::move(block));
  }
  return LoseBlock(offset, tries);
}

// `tries`: the result with each Check that the Block may have, the likeliest first. They differ in
// where the Block ends.
Result<uint64_t> Salvage::LoseBlock(uint64_t offset, const std::vector<SalvagedBlock>& tries) {
  const SalvagedBlock& likeliest = tries.front();
  const uint64_t kept = options_.keeps_partial ? likeliest.plain_bytes : 0;
  XZFS_RETURN_IF_ERROR(output_.SetSize(output_.position() + kept));
  MissingPart part{.block = output_.report().blocks + output_.report().missing.size(),
                   .stored_begin = offset,
                   .kept_bytes = kept,
                   .why = likeliest.damage->message};
  if (!counts_ || !output_.places_known()) {
    part.block.reset();
  }
  in_stream_ = true;
  ++stream_blocks_;
  if (!FindEnd(tries, part)) {
    const uint64_t noticed = likeliest.end - std::min(likeliest.end, kNoticedLate);
    XZFS_ASSIGN_OR_RETURN(const Landmark next,
                          FindLandmark(from_, std::max(offset + 4, noticed), cancelled_));
    part.stored_end = next.offset;
    counts_ = false;
    check_is_sure_ = false;
  }
  const uint64_t end = part.stored_end;
  output_.Lose(std::move(part));
  return end;
}

// Finds the end of a damaged Block. A supposed end is right if something stands there; then the
// plain size that belongs to it is right too.
bool Salvage::FindEnd(const std::vector<SalvagedBlock>& tries, MissingPart& part) {
  const uint64_t begin = part.stored_begin;
  // Its header says it.
  for (const SalvagedBlock& block : tries) {
    const bool is_small = block.stored_bytes && *block.stored_bytes < from_.size() - begin;
    if (is_small && IsFollowed(begin, begin + *block.stored_bytes)) {
      part.stored_end = begin + *block.stored_bytes;
      if (block.plain_size && *block.plain_size / kBestRatio <= *block.stored_bytes) {
        part.plain_size = block.plain_size;
      }
      return true;
    }
  }
  // Only the Check was wrong: the decoder came to the end.
  for (const SalvagedBlock& block : tries) {
    if (IsFollowed(begin, block.end)) {
      part.stored_end = block.end;
      part.plain_size = block.plain_bytes;
      return true;
    }
  }
  return false;
}

// Whether something stands where the Block at `begin` may end.
bool Salvage::IsFollowed(uint64_t begin, uint64_t end) {
  if (end <= begin || end % 4 != 0 || end >= from_.size()) {
    return false;
  }
  const Landmark next = At(end);
  // A byte of 0 is enough to look like a damaged Index.
  return next.kind != Kind::kNothing &&
         (next.kind != Kind::kDamagedIndex || next.block_count == stream_blocks_);
}

// A file may be made of Blocks that all end where a large Index seems to begin, so Indexes that
// turn out to be none may together cost as much as reading the file once. After that no Index is
// read. The result is as if all were damaged, and a damaged one still says how many Blocks there
// are.
Landmark Salvage::At(uint64_t offset) {
  const bool reads_index = no_index_bytes_ < from_.size();
  const Landmark mark = LandmarkAt(from_, offset, reads_index ? options_.index_bytes : 0);
  if (mark.kind == Kind::kDamagedIndex) {
    no_index_bytes_ += mark.end - mark.offset;
  }
  return mark;
}

Result<uint64_t> Salvage::EndStream(const Landmark& index) {
  // If Blocks can't be counted, a loss was noted already.
  if (counts_ && index.block_count != stream_blocks_) {
    output_.Lose({.stored_begin = index.offset,
                  .stored_end = index.offset,
                  .why = "the Index is damaged, or lists other Blocks than those before it"});
  }
  in_stream_ = false;
  check_.reset();
  check_is_sure_ = false;
  counts_ = true;
  stream_blocks_ = 0;
  if (index.kind == Kind::kIndex) {
    return SkipPadding(index.end + kFooterBytes);
  }
  XZFS_ASSIGN_OR_RETURN(const Landmark next, FindLandmark(from_, index.offset + 4, cancelled_));
  return next.offset;
}

Result<uint64_t> Salvage::Resync(uint64_t offset) {
  XZFS_ASSIGN_OR_RETURN(const Landmark next, FindLandmark(from_, offset + 4, cancelled_));
  const bool is_header = !in_stream_ && next.kind == Kind::kBlockHeader &&
                         next.offset == offset + kFooterBytes;  // a Stream Header is as long
  if (!is_header) {
    output_.Lose({.stored_begin = offset,
                  .stored_end = next.offset,
                  .why = "there is neither a Block nor an Index"});
    counts_ = false;
    check_is_sure_ = false;
  }
  in_stream_ = true;
  return next.offset;
}

Result<SalvagedBlock> Salvage::Decode(const BlockPlace& place) {
  if (cancelled_) {
    return Fail(ECANCELED, "cancelled");
  }
  uint64_t at = output_.position();
  return SalvageBlock(from_, place, options_.decoder_bytes,
                      [&](std::span<const std::byte> bytes) -> Status {
                        if (cancelled_) {
                          return Fail(ECANCELED, "cancelled");
                        }
                        XZFS_RETURN_IF_ERROR(output_.Write(bytes, at));
                        at += bytes.size();
                        return {};
                      });
}

std::vector<Check> Salvage::ChecksToTry() const {
  std::vector<Check> checks;
  if (check_) {
    checks.push_back(*check_);
  }
  if (!check_is_sure_) {
    for (const Check check : kChecks) {
      if (check != check_) {
        checks.push_back(check);
      }
    }
  }
  return checks;
}

uint64_t Salvage::SkipPadding(uint64_t offset) const {
  std::array<std::byte, 4096> buffer;
  while (offset < from_.size()) {
    const size_t got = from_.ReadAt(offset, buffer).value_or(0);
    const auto zeros = std::find_if(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(got),
                                    [](std::byte b) { return b != std::byte{0}; });
    const auto count = static_cast<uint64_t>(zeros - buffer.begin());
    offset += count;
    if (got == 0 || count < got) {
      break;
    }
  }
  return offset;
}

}  // namespace xzfs
