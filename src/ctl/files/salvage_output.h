// What could be saved of a damaged .xz file, and what could not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "xzfs/check.h"
#include "xzfs/result.h"

namespace xzfs {

// A part that is missing. Ranges are half-open.
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

// The file that is written, and what is known of it. Not thread-safe.
class SalvageOutput {
 public:
  // `to`: an empty file, open for writing, which outlives it.
  explicit SalvageOutput(int to) : to_(to) {}

  // Where the next Block goes.
  uint64_t position() const { return position_; }
  // Whether all offsets so far are those of the whole file.
  bool places_known() const { return places_known_; }
  const SalvageReport& report() const { return report_; }
  void NoteIndexError(const std::string& error) { report_.index_error = error; }
  // To be called once, when nothing more is to come.
  SalvageReport Finish();

  Status Write(std::span<const std::byte> bytes, uint64_t offset);
  // Drops what was written behind `size`, or makes a hole up to it.
  Status SetSize(uint64_t size);
  // Counts a whole Block, which was written at `position`.
  void AddWhole(uint64_t plain_bytes, Check check);
  // Notes what is missing at `position`; `part` says everything else about it.
  void Lose(MissingPart part);

 private:
  const int to_;
  SalvageReport report_;
  uint64_t position_ = 0;
  bool places_known_ = true;
};

}  // namespace xzfs
