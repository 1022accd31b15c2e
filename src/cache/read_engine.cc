#include "cache/read_engine.h"

#include <algorithm>

namespace xzfs {
namespace {

// Every preset of xz decodes in 65 MiB, whatever cache_size is; larger dictionaries (they have to
// be asked for by number) may take up to the budget.
constexpr uint64_t kLeastDecoderLimit = uint64_t{128} << 20;

// Tasks that wait for a thread: a full window for eight readers. Beyond that readers decode their
// own.
constexpr size_t kQueueLimit = 64;

}  // namespace

ReadEngine::ReadEngine(const Limits& limits)
    : whole_block_bytes(limits.whole_block_bytes),
      verify(limits.verify),
      decoder_limit(std::max<uint64_t>(kLeastDecoderLimit, limits.budget_bytes)),
      budget(limits.budget_bytes),
      cache(budget, stats),
      arenas(cache, limits.threads),
      slots(limits.threads),
      damage(stats),
      slices(cache, slots, damage, stats, decoder_limit),
      files(cache),
      small_files(cache),
      most_unfinished_blocks(limits.threads),
      pool(limits.threads, kQueueLimit) {}

}  // namespace xzfs
