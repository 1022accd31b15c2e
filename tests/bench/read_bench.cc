// The cost of a read inside the daemon, without a mount: a hit, a miss, and hits of several threads
// at once. A miss is compared with decoding the same Block alone.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "cache/read_engine.h"
#include "cache/xz_reader.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;
constexpr size_t kFileBytes = 64 * kMiB;

const std::shared_ptr<MemFile>& StoredFile() {
  static const auto file = std::make_shared<MemFile>(MakeXz(SomeText(kFileBytes), kMiB));
  return file;
}

std::unique_ptr<XzReader> MakeReader(ReadEngine& engine) {
  return std::make_unique<XzReader>(engine, XzReader::Source{.identity = {.device = 1, .inode = 1},
                                                             .format = Format::kXz,
                                                             .plain_size = kFileBytes,
                                                             .stored = StoredFile(),
                                                             .name = [] { return "bench.xz"; }});
}

ReadEngine::Limits Limits(size_t budget) {
  return {.budget_bytes = budget, .threads = 2, .whole_block_bytes = 32 * kMiB};
}

void Check(bool ok) {
  if (!ok) {
    std::abort();
  }
}

void BM_Hit4KiB(benchmark::State& state) {
  static ReadEngine engine(Limits(256 * kMiB));
  static const auto reader = MakeReader(engine);
  std::vector<std::byte> out(4096);
  uint64_t offset = static_cast<uint64_t>(state.thread_index()) * 7919;
  for (auto _ : state) {
    offset = (offset * 48271 + 11) % (8 * kMiB);
    Check(reader->ReadAt(offset, out).has_value());
  }
}
BENCHMARK(BM_Hit4KiB)->ThreadRange(1, 4)->UseRealTime();

void BM_Miss4KiBIn1MiBBlock(benchmark::State& state) {
  ReadEngine engine(Limits(4 * kMiB));
  const auto reader = MakeReader(engine);
  std::vector<std::byte> out(4096);
  uint64_t block = 0;
  for (auto _ : state) {
    block = (block + 13) % 64;  // 13 Blocks later: never in the cache
    Check(reader->ReadAt(block * kMiB + 5000, out).has_value());
  }
}
BENCHMARK(BM_Miss4KiBIn1MiBBlock);

void BM_DecodeOne1MiBBlockAlone(benchmark::State& state) {
  const auto index = BlockIndex::Read(*StoredFile(), Format::kXz, {});
  Check(index.has_value());
  std::vector<std::byte> out(kMiB);
  uint64_t block = 0;
  for (auto _ : state) {
    block = (block + 13) % 64;
    const auto decoder = BlockDecoder::Open(*StoredFile(), *index, index->Block(block), 128 * kMiB);
    Check(decoder.has_value() && (*decoder)->Decode(*StoredFile(), out).has_value());
  }
}
BENCHMARK(BM_DecodeOne1MiBBlockAlone);

}  // namespace
}  // namespace xzfs
