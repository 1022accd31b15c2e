// What is left of a damaged .xz file, into another file.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/os.h"
#include "xz/block_scanner.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// What isn't there. Ranges are half-open.
struct MissingPart {
  std::optional<uint64_t> block = {};  // its number, from 0, where that is known
  uint64_t stored_begin = 0;           // in the damaged file
  uint64_t stored_end = 0;
  uint64_t plain_begin = 0;                 // in the output
  std::optional<uint64_t> plain_size = {};  // unknown: what follows stands directly behind
  uint64_t kept_bytes = 0;                  // of it in the output, not verified
  std::string why;
};

struct SalvageReport {
  std::string index_error;   // empty: the Index was of use, and all offsets are right
  uint64_t blocks = 0;       // whole ones
  uint64_t plain_bytes = 0;  // of these
  uint64_t kept_bytes = 0;   // of damaged ones
  uint64_t output_bytes = 0;
  uint64_t unchecked_blocks = 0;  // of the whole ones: no Check says that they are
  std::vector<MissingPart> missing;

  // Offsets up to here are those of the whole file.
  uint64_t placed_bytes = 0;
};

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
      : from_(from), to_(to), options_(options), cancelled_(cancelled) {}

  // Errors: ECANCELED, what writing says. Damage of `from` is in the report. Blocks.
  Result<SalvageReport> Run();

 private:
  Status ByIndex(const BlockIndex& index);
  Status ByScan();
  // Each returns where to go on.
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
  void AddWhole(uint64_t plain_bytes, Check check);
  // What is missing at position_, of which `part` says the rest.
  void Lose(MissingPart part);
  Status Write(std::span<const std::byte> bytes, uint64_t offset);
  // Drops what was written behind `size`, or makes a hole up to it.
  Status SetSize(uint64_t size);

  const RandomAccessFile& from_;
  const int to_;
  const Options options_;
  const std::atomic<bool>& cancelled_;
  SalvageReport report_;
  uint64_t position_ = 0;  // in the output: where the next Block goes

  // Of the scan.
  bool in_stream_ = false;
  uint64_t stream_blocks_ = 0;  // whole and damaged ones
  bool counts_ = true;          // all Blocks of the Stream so far were seen
  std::optional<Check> check_;
  bool check_is_sure_ = false;
  bool places_known_ = true;
  uint64_t no_index_bytes_ = 0;  // that were read as an Index, and are none
};

}  // namespace xzfs
