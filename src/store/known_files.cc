// A set-associative table: an inode number names a bucket of eight slots, in which the newest is
// first. A lookup reads one or two cache lines, an insertion moves at most the slots of one bucket,
// the table is never rehashed, and its bound is exact. A full bucket loses its oldest slot. With
// eight slots that begins when the table is about half full, and costs a few more looks into files.
//
// All versions of an inode share a bucket, so a new version replaces the old one, which won't be
// asked for again.
#include "store/known_files.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <new>

namespace xzfs {
namespace {

// KnownFile and Suffix in 64 bits: bit 0 is set, bits 1-2 are the kind of suffix, 3-4 the format or
// kNoFormat, 5 says that there are giant Blocks, 8-63 are the file's id.
constexpr uint64_t kUsed = 1;
constexpr uint64_t kSuffixMask = 3U << 1U;
constexpr unsigned kFormatShift = 3;
constexpr uint64_t kNoFormat = 3;
constexpr uint64_t kGiant = 1U << 5U;
constexpr unsigned kIdShift = 8;

// Suffixes that judge the same content in the same way share a number.
uint64_t PackSuffix(Suffix suffix) {
  switch (suffix) {
    case Suffix::kXz:
    case Suffix::kTxz:
      return 0;
    case Suffix::kLzma:
      return 1U << 1U;
    case Suffix::kLz:
      return 2U << 1U;
    case Suffix::kTlz:
      break;
  }
  return 3U << 1U;
}

uint64_t Pack(Suffix suffix, const KnownFile& known) {
  assert(known.file_id < (uint64_t{1} << (64 - kIdShift)));
  const uint64_t format = known.format ? static_cast<uint64_t>(*known.format) : kNoFormat;
  return kUsed | PackSuffix(suffix) | format << kFormatShift |
         (known.has_giant_blocks ? kGiant : 0) | known.file_id << kIdShift;
}

KnownFile Unpack(uint64_t plain_size, uint64_t packed) {
  KnownFile known;
  const uint64_t format = packed >> kFormatShift & 3U;
  if (format != kNoFormat) {
    known.format = static_cast<Format>(format);
  }
  known.plain_size = plain_size;
  known.file_id = packed >> kIdShift;
  known.has_giant_blocks = (packed & kGiant) != 0;
  return known;
}

}  // namespace

KnownFiles::KnownFiles(size_t bytes)
    : bucket_count_(std::bit_floor(std::max<size_t>(1, bytes / (kSlotsPerBucket * sizeof(Slot))))),
      // From calloc, so that pages which hold nothing yet take no memory.
      slots_(static_cast<Slot*>(calloc(bucket_count_ * kSlotsPerBucket, sizeof(Slot)))) {
  MutexLock lock(mutex_);
  if (slots_ == nullptr) {
    throw std::bad_alloc();
  }
}

std::span<KnownFiles::Slot> KnownFiles::BucketOf(const Identity& identity) const {
  uint64_t h = (identity.inode ^ identity.device * 0xC2B2AE3D27D4EB4FU) * 0x9E3779B97F4A7C15U;
  h ^= h >> 32U;
  return {slots_.get() + (h & (bucket_count_ - 1)) * kSlotsPerBucket, kSlotsPerBucket};
}

std::optional<KnownFile> KnownFiles::Find(const Identity& identity, Suffix suffix) const {
  const uint64_t wanted = kUsed | PackSuffix(suffix);
  MutexLock lock(mutex_);
  for (const Slot& slot : BucketOf(identity)) {
    if (slot.packed == 0) {
      break;
    }
    if ((slot.packed & (kUsed | kSuffixMask)) == wanted && slot.identity == identity) {
      return Unpack(slot.plain_size, slot.packed);
    }
  }
  return std::nullopt;
}

KnownFile KnownFiles::Add(const Identity& identity, Suffix suffix, const KnownFile& known) {
  const uint64_t packed = Pack(suffix, known);
  MutexLock lock(mutex_);
  const std::span<Slot> bucket = BucketOf(identity);
  size_t place = 0;
  for (; place < bucket.size() && bucket[place].packed != 0; ++place) {
    const Slot& slot = bucket[place];
    if (slot.identity.inode == identity.inode && slot.identity.device == identity.device &&
        (slot.packed & kSuffixMask) == (packed & kSuffixMask)) {
      if (slot.identity == identity) {
        return Unpack(slot.plain_size, slot.packed);
      }
      break;
    }
  }
  // The slot to replace: that of the older version, else the first free one, else the oldest.
  place = std::min(place, bucket.size() - 1);
  std::move_backward(bucket.begin(), bucket.begin() + static_cast<ptrdiff_t>(place),
                     bucket.begin() + static_cast<ptrdiff_t>(place) + 1);
  bucket[0] = {identity, known.plain_size, packed};
  return known;
}

}  // namespace xzfs
