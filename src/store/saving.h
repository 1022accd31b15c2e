// When compressing a plain file is worth it.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string_view>

#include "store/encode_pool.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

class Os;

// What a plain file takes of the disk.
struct DiskUse {
  // Allocated bytes. What is allocated behind the end of the file does not count.
  uint64_t bytes = 0;
  // The unit in which the file system allocates, 512 to 4096 bytes.
  uint64_t block_bytes = 0;

  // `fd`: the file, open; `st`: its attributes. Moves the position of `fd`.
  static DiskUse Of(Os& os, int fd, const struct stat& st);
};

// The rule of mounts (the option min_saving) and of xzfsctl pack: a compressed file must take less
// of the disk than the plain one by a share of what that takes, and by a disk block at least.
// Immutable.
class SavingRule {
 public:
  static constexpr double kDefaultLeast = 0.01;

  // `least`: that share, 0 to 1. 0: every file is compressed, whatever that saves.
  explicit SavingRule(double least = kDefaultLeast) : least_(least) {}

  double least() const { return least_; }
  // Whether a compressed form of `stored_bytes` saves enough.
  bool IsWorthIt(const DiskUse& plain, uint64_t stored_bytes) const;
  // Whether no compressed form saves enough, as the file has one disk block.
  bool IsHopeless(const struct stat& st) const;
  // Whether the rule is for a file of this stored name. It is not for one that has the escape
  // suffix: that is compressed whatever it saves, so that it loses the suffix.
  static bool IsFor(std::string_view stored_name);

 private:
  double least_;
};

// A larger file is sampled before it is encoded. (Samples of a smaller one would not cost less than
// half of all of it.)
inline constexpr uint64_t kSampledBytes = uint64_t{1} << 20;
// How much of a file is encoded as one sample.
inline constexpr uint64_t kSampleBytes = uint64_t{128} << 10;

// Estimates, from some parts of a file, its compressed size as a share of its size: 1 means that
// nothing is saved. `is_enough` is told a ratio that the result will not exceed, after each sample;
// if it returns true that is the result. It may be null, and so may `cancelled`. Blocks: encodes up
// to 512 KiB, at the priority of the pool. Errors: ECANCELED; errors of reading.
Result<double> EstimateRatio(const RandomAccessFile& plain, EncodePool& encoders,
                             const EncodeOptions& options,
                             const std::atomic<bool>* cancelled = nullptr,
                             const std::function<bool(double ratio)>& is_enough = nullptr);

// Whether a file that takes `use` looks as if compressing it were worth it. Always true if it has
// no more than kSampledBytes. Blocks and errors: as EstimateRatio.
Result<bool> LooksWorthIt(const SavingRule& rule, const DiskUse& use, const RandomAccessFile& plain,
                          EncodePool& encoders, const EncodeOptions& options,
                          const std::atomic<bool>* cancelled);

}  // namespace xzfs
