// A thread takes a part, reads it, and goes through all cells. The figures of a part count only
// when all cells are measured, so all cells are about the same bytes. While the threads work all
// cores are busy, as they are when a mount compresses: that is what "on all cores" means. CPU times
// give the speed of one core, which other programs on the machine don't change much.
//
// A small file is one Block with every Block size, so it is measured once for each preset.
#include "ctl/bench/bench_grid.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <new>
#include <thread>

#include "base/machine.h"
#include "base/try.h"
#include "store/saving.h"
#include "xz/block_decoder.h"
#include "xz/block_encoder.h"
#include "xz/stream_builder.h"

namespace xzfs {
namespace {

using Clock = std::chrono::steady_clock;

// -7 to -9 are like -6 up to Blocks of 8 MiB, because no dictionary is larger than its Block.
constexpr std::array<unsigned, 4> kPresets = {0, 1, 3, 6};
constexpr std::array<uint64_t, 3> kBlockBytes = {uint64_t{256} << 10, uint64_t{1} << 20,
                                                 kBenchPartBytes};
// What file systems round up to.
constexpr uint64_t kDiskBlockBytes = 4096;
// Our own Blocks need their own size and a bit more.
constexpr uint64_t kDecoderMemory = uint64_t{1} << 30;

double CpuSeconds() {
  struct timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// A whole .xz file in memory.
class MemoryFile : public RandomAccessFile {
 public:
  explicit MemoryFile(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    const size_t begin = std::min<uint64_t>(offset, bytes_.size());
    const size_t count = std::min(out.size(), bytes_.size() - begin);
    std::memcpy(out.data(), bytes_.data() + begin, count);
    return count;
  }
  uint64_t size() const override { return bytes_.size(); }

 private:
  const std::vector<std::byte> bytes_;
};

// What came of one part with one cell.
struct Coded {
  uint64_t stored_bytes = 0;  // with the Index if the part is a whole file
  double encode_cpu_s = 0, encode_s = 0, decode_cpu_s = 0;
  double read_s = 0;
};

Result<MemoryFile> EncodePart(std::span<const std::byte> plain, const EncodeOptions& options,
                              uint64_t block_bytes, const std::atomic<bool>& cancelled,
                              Coded& coded) {
  StreamBuilder stream(options.check);
  std::vector<std::byte> bytes = stream.Header();
  BlockEncoder encoder(options);
  const double cpu_before = CpuSeconds();
  const auto before = Clock::now();
  for (size_t at = 0; at < plain.size(); at += block_bytes) {
    const auto part = plain.subspan(at, std::min<uint64_t>(block_bytes, plain.size() - at));
    XZFS_ASSIGN_OR_RETURN(const EncodedBlock block, encoder.Encode(part, &cancelled));
    XZFS_RETURN_IF_ERROR(stream.Add(block.unpadded_size, block.plain_size));
    bytes.insert(bytes.end(), block.bytes.begin(), block.bytes.end());
  }
  coded.encode_cpu_s = CpuSeconds() - cpu_before;
  coded.encode_s = std::chrono::duration<double>(Clock::now() - before).count();
  XZFS_ASSIGN_OR_RETURN(const std::vector<std::byte> tail, stream.Finish());
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  return MemoryFile(std::move(bytes));
}

Status DecodeAll(const MemoryFile& file, const std::atomic<bool>& cancelled, Coded& coded) {
  XZFS_ASSIGN_OR_RETURN(const BlockIndex index, BlockIndex::Read(file, Format::kXz));
  std::vector<std::byte> plain(index.largest_block());
  std::unique_ptr<DecoderArena> arena;
  for (uint64_t number = 0; number < index.block_count(); ++number) {
    if (cancelled) {
      return Fail(ECANCELED, "cancelled");
    }
    const BlockInfo block = index.Block(number);
    const double before = CpuSeconds();
    XZFS_ASSIGN_OR_RETURN(const auto decoder,
                          BlockDecoder::Open(file, index, block, kDecoderMemory, std::move(arena)));
    XZFS_RETURN_IF_ERROR(decoder->Decode(file, std::span(plain).first(block.plain_size)));
    const double seconds = CpuSeconds() - before;
    arena = decoder->TakeArena();
    coded.decode_cpu_s += seconds;
    coded.read_s +=
        seconds * static_cast<double>(block.plain_size) / static_cast<double>(index.plain_size());
  }
  return {};
}

Result<Coded> CodePart(std::span<const std::byte> plain, unsigned preset, uint64_t block_bytes,
                       const std::atomic<bool>& cancelled) {
  Coded coded;
  XZFS_ASSIGN_OR_RETURN(const MemoryFile file,
                        EncodePart(plain, {.preset = preset}, block_bytes, cancelled, coded));
  XZFS_RETURN_IF_ERROR(DecodeAll(file, cancelled, coded));
  coded.stored_bytes = file.size();
  return coded;
}

// How many allocated bytes the part saves if it is stored in `stored` bytes. A file that would save
// too little stays plain.
double SavedBytes(const BenchPart& part, uint64_t plain_bytes, uint64_t stored_bytes) {
  const bool is_whole = plain_bytes == part.file_size;
  const auto plain = static_cast<double>(plain_bytes);
  const double now = part.is_compressed ? static_cast<double>(part.allocated_bytes) * plain /
                                              static_cast<double>(part.file_size)
                     : is_whole ? static_cast<double>(part.allocated_bytes)
                                : plain;
  const uint64_t rounded = (stored_bytes + kDiskBlockBytes - 1) / kDiskBlockBytes * kDiskBlockBytes;
  const double saved = now - static_cast<double>(is_whole ? rounded : stored_bytes);
  const SavingRule rule;
  const DiskUse use = {.bytes = static_cast<uint64_t>(now), .block_bytes = kDiskBlockBytes};
  const bool is_worth_it =
      is_whole ? rule.IsWorthIt(use, stored_bytes) : saved >= now * rule.least();
  return part.is_compressed || is_worth_it ? saved : 0;
}

// How long parts take on this thread. A small one takes as long as its encoders need to be made, a
// large one in proportion to its bytes.
class PartTimes {
 public:
  void Add(uint64_t bytes, double seconds) {
    if (bytes < kLarge) {
      small_s_ = std::max(small_s_, seconds);
    } else {
      s_per_byte_ = std::max(s_per_byte_, seconds / static_cast<double>(bytes));
    }
  }
  double Of(uint64_t bytes) const {
    return bytes < kLarge ? small_s_ : s_per_byte_ * static_cast<double>(bytes);
  }

 private:
  static constexpr uint64_t kLarge = uint64_t{256} << 10;
  double small_s_ = 0;
  double s_per_byte_ = 0;
};

}  // namespace

void BenchGrid::AddError(const BenchPart& part, const Error& error) {
  MutexLock lock(mutex_);
  if (error.code != ECANCELED) {
    result_.errors.emplace_back(part.path, error.message);
  }
}

bool BenchGrid::MeasurePart(const BenchPart& part) {
  const auto plain = ReadPart(setup_.os, part, setup_.cancelled);
  if (!plain || plain->empty()) {
    AddError(part, plain ? Error{ErrorKind::kChanged, ESTALE, part.path + " is empty now"}
                         : plain.error());
    return false;
  }
  std::vector<Coded> all;
  for (const unsigned preset : kPresets) {
    for (size_t i = 0; i < kBlockBytes.size(); ++i) {
      if (i != 0 && plain->size() <= kBlockBytes[i - 1]) {
        all.push_back(Coded(all.back()));
        continue;
      }
      const auto coded = CodePart(*plain, preset, kBlockBytes[i], setup_.cancelled);
      if (!coded) {
        AddError(part, coded.error());
        return false;
      }
      all.push_back(*coded);
    }
  }
  const auto bytes = static_cast<double>(plain->size());
  MutexLock lock(mutex_);
  for (size_t i = 0; i < all.size(); ++i) {
    BenchCell& cell = result_.cells[i];
    const Coded& coded = all[i];
    cell.compressed += static_cast<double>(coded.stored_bytes) / bytes;
    cell.saved += SavedBytes(part, plain->size(), coded.stored_bytes) / bytes;
    cell.read_s += coded.read_s;
    cell.encode_cpu_s += coded.encode_cpu_s;
    cell.encode_s += coded.encode_s;
    cell.decode_cpu_s += coded.decode_cpu_s;
    cell.bytes += plain->size();
  }
  ++result_.parts;
  result_.bytes += plain->size();
  return true;
}

void BenchGrid::Work() try {
  PartTimes times;
  for (bool is_first = true;; is_first = false) {
    const size_t number = next_++;
    if (number >= setup_.parts.size() || setup_.cancelled) {
      return;
    }
    const BenchPart& part = setup_.parts[number];
    const auto begin = Clock::now();
    const std::chrono::duration<double> needs(times.Of(part.size));
    if (!is_first && begin + needs >= setup_.end) {
      return;
    }
    if (MeasurePart(part)) {
      times.Add(part.size, std::chrono::duration<double>(Clock::now() - begin).count());
      setup_.on_part(part.size);
    }
  }
} catch (const std::bad_alloc&) {
  MutexLock lock(mutex_);
  result_.errors.emplace_back("memory", "there is not enough for a further thread");
}

BenchResult BenchGrid::Run(unsigned threads) {
  const uint64_t each =
      BlockEncoder::MemoryBytes({.preset = kPresets.back()}, kBenchPartBytes) + 4 * kBenchPartBytes;
  const auto most = static_cast<unsigned>(std::clamp<uint64_t>(UsableMemory() / 4 / each, 1, 1024));
  const unsigned count = std::min<unsigned>(
      std::min(threads, most), static_cast<unsigned>(std::max<size_t>(setup_.parts.size(), 1)));
  {
    MutexLock lock(mutex_);
    result_.threads = count;
    for (const unsigned preset : kPresets) {
      for (const uint64_t block_bytes : kBlockBytes) {
        result_.cells.push_back({.preset = preset, .block_bytes = block_bytes});
      }
    }
  }
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < count; ++i) {
    helpers.emplace_back([this] { Work(); });
  }
  Work();
  for (std::thread& helper : helpers) {
    helper.join();
  }
  MutexLock lock(mutex_);
  return std::move(result_);
}

}  // namespace xzfs
