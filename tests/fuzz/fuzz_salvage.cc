// Whatever a file contains, and wherever it is cut off, what salvage gives of it is what the whole
// file has there, or is said to be missing.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>

#include "base/unique_fd.h"
#include "ctl/files/salvage.h"
#include "fuzz/fuzz_input.h"
#include "support/mem_file.h"

namespace xzfs {
namespace {

constexpr Salvage::Options kOptions = {
    .keeps_partial = false, .decoder_bytes = uint64_t{8} << 20, .index_bytes = uint64_t{2} << 20};
// More of an output is a hole, or an Index that lies.
constexpr uint64_t kMostCompared = uint64_t{64} << 20;

struct Salvaged {
  SalvageReport report;
  std::string output;
};

std::optional<Salvaged> SalvageAll(const std::string& file) {
  const MemFile from(file);
  const UniqueFd to(memfd_create("salvaged", MFD_CLOEXEC));
  Require(to.get() >= 0, "a file in memory");
  const std::atomic<bool> cancelled{false};
  const Result<SalvageReport> report = Salvage(from, to.get(), kOptions, cancelled).Run();
  if (!report) {
    Require(report.error().code == EFBIG || report.error().code == EINVAL ||
                report.error().code == ENOSPC,
            "only the size that a file claims may be too much");
    return std::nullopt;
  }
  struct stat st = {};
  Require(fstat(to.get(), &st) == 0, "stat");
  Require(static_cast<uint64_t>(st.st_size) == report->output_bytes, "output_bytes");
  Require(report->placed_bytes <= report->output_bytes, "placed_bytes");
  uint64_t end = 0;
  for (const MissingPart& part : report->missing) {
    Require(part.stored_begin <= part.stored_end && part.stored_end <= file.size(),
            "what is missing was in the file");
    Require(part.plain_begin >= end && part.plain_begin <= report->output_bytes,
            "what is missing is told in its order");
    Require(!part.why.empty(), "a reason is given");
    end = part.plain_begin;
  }
  Salvaged salvaged{*report, std::string(std::min(report->output_bytes, kMostCompared), '\0')};
  const ssize_t got = pread(to.get(), salvaged.output.data(), salvaged.output.size(), 0);
  Require(got == static_cast<ssize_t>(salvaged.output.size()), "the output can be read");
  return salvaged;
}

bool IsMissing(const SalvageReport& report, uint64_t offset) {
  return std::any_of(report.missing.begin(), report.missing.end(), [&](const MissingPart& part) {
    return offset >= part.plain_begin && offset - part.plain_begin < part.plain_size.value_or(0);
  });
}

void Run(const FuzzInput& input) {
  const std::optional<Salvaged> all = SalvageAll(input.file);
  const std::optional<Salvaged> cut =
      SalvageAll(input.file.substr(0, input.seed * input.file.size() / 256));
  const Verdict whole = DecodeWithLiblzma(input);
  if (whole.outcome != Verdict::kDecoded) {
    return;
  }
  if (all && whole.plain.size() <= kMostCompared) {
    Require(all->report.missing.empty(), "of a file that decodes nothing is missing");
    Require(all->output == whole.plain, "the bytes are those that liblzma gives");
  }
  if (cut) {
    const uint64_t placed = std::min<uint64_t>(cut->report.placed_bytes, cut->output.size());
    for (uint64_t at = 0; at < placed; ++at) {
      Require((at < whole.plain.size() && cut->output[at] == whole.plain[at]) ||
                  IsMissing(cut->report, at),
              "a byte with its place is that of the whole file");
    }
  }
}

}  // namespace
}  // namespace xzfs

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::optional<xzfs::FuzzInput> input = xzfs::ParseFuzzInput(data, size);
  if (input && input->format == xzfs::Format::kXz) {
    xzfs::Run(*input);
  }
  return 0;
}
