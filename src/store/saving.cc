#include "store/saving.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "base/os.h"
#include "base/try.h"
#include "store/names.h"

namespace xzfs {
namespace {

// Few file systems allocate less or more. st_blksize may be far more where it only says which
// requests are fast (NFS: 1 MiB).
constexpr uint64_t kLeastDiskBlock = 512;
constexpr uint64_t kMostDiskBlock = 4096;
// A file with more ranges counts as one without holes behind them.
constexpr int kMostRanges = 4096;
// How many parts of a file are encoded. For most files that gives the ratio within a few percent.
constexpr uint64_t kSamples = 4;

uint64_t DiskBlockOf(const struct stat& st) {
  return std::clamp(static_cast<uint64_t>(st.st_blksize), kLeastDiskBlock, kMostDiskBlock);
}

uint64_t RoundedUp(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

// The bytes of the file that are not in holes.
uint64_t DataBytes(Os& os, int fd, uint64_t size) {
  uint64_t data = 0;
  uint64_t end = 0;
  for (int ranges = 0; ranges < kMostRanges; ++ranges) {
    const int64_t begin = os.Seek(fd, static_cast<int64_t>(end), SEEK_DATA);
    if (begin == -ENXIO) {
      return data;
    }
    const int64_t hole = begin < 0 ? begin : os.Seek(fd, begin, SEEK_HOLE);
    if (hole < 0) {
      break;
    }
    data += static_cast<uint64_t>(hole - begin);
    end = static_cast<uint64_t>(hole);
  }
  return data + (size - std::min(end, size));
}

}  // namespace

DiskUse DiskUse::Of(Os& os, int fd, const struct stat& st) {
  DiskUse use;
  use.block_bytes = DiskBlockOf(st);
  const auto size = static_cast<uint64_t>(st.st_size);
  const uint64_t all = RoundedUp(size, use.block_bytes);
  use.bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  // The file has holes; or the file system counts blocks seconds after the write (ZFS), or not at
  // all (some on FUSE).
  if (use.bytes < size) {
    use.bytes = std::max(use.bytes, RoundedUp(DataBytes(os, fd, size), use.block_bytes));
  }
  use.bytes = std::min(use.bytes, all);
  return use;
}

bool SavingRule::IsWorthIt(const DiskUse& plain, uint64_t stored_bytes) const {
  if (least_ == 0) {
    return true;
  }
  const uint64_t stored = RoundedUp(stored_bytes, plain.block_bytes);
  return plain.bytes >= stored + plain.block_bytes &&
         static_cast<double>(plain.bytes - stored) >= least_ * static_cast<double>(plain.bytes);
}

bool SavingRule::IsHopeless(const struct stat& st) const {
  return least_ != 0 && static_cast<uint64_t>(st.st_size) <= DiskBlockOf(st);
}

bool SavingRule::IsFor(std::string_view stored_name) { return !StripEscape(stored_name); }

Result<double> EstimateRatio(const RandomAccessFile& plain, EncodePool& encoders,
                             const EncodeOptions& options, const std::atomic<bool>* cancelled,
                             const std::function<bool(double ratio)>& is_enough) {
  const uint64_t size = plain.size();
  if (size == 0) {
    return 1.0;
  }
  const uint64_t count = std::min(kSamples, (size + kSampleBytes - 1) / kSampleBytes);
  const uint64_t bytes = std::min(kSampleBytes, size);
  const auto sampled = static_cast<double>(count * bytes);
  const auto lowered = encoders.Lower();
  std::unique_ptr<EncodePool::Workspace> workspace = encoders.Take(options);
  double most = 1;
  uint64_t stored = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t begin = count == 1 ? 0 : (size - bytes) / (count - 1) * i;
    workspace->plain.resize(bytes);
    XZFS_RETURN_IF_ERROR(ReadFully(plain, begin, workspace->plain));
    XZFS_ASSIGN_OR_RETURN(const EncodedBlock block,
                          workspace->encoder.Encode(workspace->plain, cancelled));
    stored += block.bytes.size();
    most = static_cast<double>(stored + (count - 1 - i) * bytes) / sampled;
    if (is_enough && is_enough(most)) {
      break;
    }
  }
  encoders.Give(std::move(workspace), options);
  return most;
}

Result<bool> LooksWorthIt(const SavingRule& rule, const DiskUse& use, const RandomAccessFile& plain,
                          EncodePool& encoders, const EncodeOptions& options,
                          const std::atomic<bool>* cancelled) {
  if (plain.size() <= kSampledBytes || rule.least() == 0) {
    return true;
  }
  const auto is_worth_it = [&](double ratio) {
    return rule.IsWorthIt(use, static_cast<uint64_t>(ratio * static_cast<double>(plain.size())));
  };
  XZFS_ASSIGN_OR_RETURN(const double ratio,
                        EstimateRatio(plain, encoders, options, cancelled, is_worth_it));
  return is_worth_it(ratio);
}

}  // namespace xzfs
