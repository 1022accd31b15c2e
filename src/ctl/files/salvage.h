// Writes what is left of a damaged .xz file into another file.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "ctl/files/salvage_output.h"
#include "xz/block_scanner.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// One run. Not thread-safe.
class Salvage {
 public:
  struct Options {
    bool keeps_partial = false;  // what was decoded of a damaged Block before the error
    uint64_t decoder_bytes = 0;  // at most
    uint64_t index_bytes = 0;    // at most
  };

  // `to`: an empty file, open for writing.
  Salvage(const RandomAccessFile& from, int to, const Options& options,
          const std::atomic<bool>& cancelled)
      : from_(from), options_(options), cancelled_(cancelled), output_(to) {}

  // Errors: ECANCELED, what writing says. Damage of `from` is in the report. Blocks.
  Result<SalvageReport> Run();

 private:
  Status ByIndex(const BlockIndex& index);
  Status ByScan();
  // Each returns the offset at which the scan goes on.
  Result<uint64_t> TakeBlock(uint64_t offset);
  Result<uint64_t> LoseBlock(uint64_t offset, const std::vector<SalvagedBlock>& tries);
  Result<uint64_t> EndStream(const Landmark& index);
  Result<uint64_t> Resync(uint64_t offset);

  bool FindEnd(const std::vector<SalvagedBlock>& tries, MissingPart& part);
  bool IsFollowed(uint64_t begin, uint64_t end);
  Landmark At(uint64_t offset);
  Result<SalvagedBlock> Decode(const BlockPlace& place);
  std::vector<Check> ChecksToTry() const;
  uint64_t SkipPadding(uint64_t offset) const;

  const RandomAccessFile& from_;
  const Options options_;
  const std::atomic<bool>& cancelled_;
  SalvageOutput output_;

  // State of the scan.
  bool in_stream_ = false;
  uint64_t stream_blocks_ = 0;  // whole and damaged ones
  bool counts_ = true;          // all Blocks of the Stream so far were seen
  std::optional<Check> check_;
  bool check_is_sure_ = false;
  uint64_t no_index_bytes_ = 0;  // that were read as an Index, and are none
};

}  // namespace xzfs
