#include "ctl/files/salvage_output.h"

#include <utility>

#include "base/fail.h"
#include "base/os.h"
#include "xz/block_decoder.h"

namespace xzfs {

SalvageReport SalvageOutput::Finish() {
  report_.output_bytes = position_;
  if (places_known_) {
    report_.placed_bytes = position_;
  }
  return std::move(report_);
}

void SalvageOutput::AddWhole(uint64_t plain_bytes, Check check) {
  ++report_.blocks;
  report_.plain_bytes += plain_bytes;
  report_.unchecked_blocks += check != Check::kNone && IsCheckSupported(check) ? 0 : 1;
  position_ += plain_bytes;
}

void SalvageOutput::Lose(MissingPart part) {
  part.plain_begin = position_;
  report_.kept_bytes += part.kept_bytes;
  if (!part.plain_size && places_known_) {
    places_known_ = false;
    report_.placed_bytes = position_ + part.kept_bytes;
  }
  position_ += part.plain_size.value_or(part.kept_bytes);
  report_.missing.push_back(std::move(part));
}

Status SalvageOutput::Write(std::span<const std::byte> bytes, uint64_t offset) {
  const int error = Os::Real().WriteAll(to_, bytes, offset);
  return error < 0 ? Status(FailErrno(-error, "write the output")) : Status();
}

Status SalvageOutput::SetSize(uint64_t size) {
  const int error = Os::Real().Truncate(to_, size);
  return error < 0 ? Status(FailErrno(-error, "set the size of the output")) : Status();
}

}  // namespace xzfs
