// What presets and Block sizes cost and save on parts of files.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "ctl/bench/bench_sample.h"
#include "xzfs/result.h"

namespace xzfs {

// One way to compress, and the sums of what was measured with it. The sums over parts are of
// shares: parts are drawn in proportion to their data, so the mean of them is that of all bytes.
struct BenchCell {
  unsigned preset = 6;
  uint64_t block_bytes = 0;

  double compressed = 0;  // sum over parts: compressed bytes / plain bytes
  double saved = 0;       // sum over parts: allocated bytes that it would save / plain bytes
  double read_s = 0;      // sum over parts: mean time to decode the Block of a byte
  double encode_cpu_s = 0, encode_s = 0, decode_cpu_s = 0;
  uint64_t bytes = 0;  // that these times are for
};

struct BenchResult {
  std::vector<BenchCell> cells;
  uint64_t parts = 0;
  uint64_t bytes = 0;  // plain bytes in them
  unsigned threads = 0;
  std::vector<std::pair<std::string, std::string>> errors;
};

// Measures one part after the other on several threads, each part with every cell. Encodes each
// Block and decodes it again, in memory. Thread-safe.
class BenchGrid {
 public:
  // All of it outlives this.
  struct Setup {
    Os& os;
    const std::vector<BenchPart>& parts;
    const std::atomic<bool>& cancelled;
    std::chrono::steady_clock::time_point end;
    // Gets the plain bytes of each part that is done. Any thread calls it.
    std::function<void(uint64_t bytes)> on_part;
  };

  explicit BenchGrid(Setup setup) : setup_(std::move(setup)) {}

  // Blocks until the parts are measured or `end` comes. It does not begin a part that would last
  // longer, except for the first one and the first large one of each thread. `threads`: at most so
  // many; fewer if they would take more than a quarter of the memory.
  BenchResult Run(unsigned threads) EXCLUDES(mutex_);

 private:
  void Work() EXCLUDES(mutex_);
  // Returns whether it was measured.
  bool MeasurePart(const BenchPart& part) EXCLUDES(mutex_);
  void AddError(const BenchPart& part, const Error& error) EXCLUDES(mutex_);

  const Setup setup_;
  std::atomic<size_t> next_{0};
  Mutex mutex_;
  BenchResult result_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
