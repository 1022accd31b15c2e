// What `xzfsctl bench` tells.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctl/bench/bench_grid.h"
#include "ctl/bench/bench_sample.h"
#include "ctl/shell/json.h"

namespace xzfs {

// One row of the table: means over the sampled parts, for all data.
struct BenchRow {
  unsigned preset = 6;
  uint64_t block_bytes = 0;
  double ratio = 1;        // compressed / plain
  double saved_share = 0;  // of what is allocated now; below 0: it would take more
  // Plain bytes a second: on one core, and on all.
  double encode_bytes_per_s = 0, encode_bytes_per_s_all = 0;
  double decode_bytes_per_s = 0;
  double read_s = 0;  // to decode the Block for a random read
};

struct BenchAdvice {
  // The row to take; nothing if the data is best left as it is, or nothing was measured.
  std::optional<BenchRow> row;
  std::string text;
};

class BenchReport {
 public:
  // Both outlive it.
  BenchReport(const BenchSample& sample, const BenchResult& result);

  const std::vector<BenchRow>& rows() const { return rows_; }
  // The smallest Blocks and the lowest preset that make files hardly larger than the best do.
  BenchAdvice Advise() const;

  // For people. `path`: what was measured, for the commands to copy.
  std::string Text(const std::string& path) const;
  // Adds everything to a document of the command.
  void AddTo(Json& document) const;

 private:
  const BenchRow& At(unsigned preset, uint64_t block_bytes) const;

  const BenchSample& sample_;
  const BenchResult& result_;
  std::vector<BenchRow> rows_;  // by preset, then by Block size
};

}  // namespace xzfs
