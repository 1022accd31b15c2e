#include "cache/read_engine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/machine.h"

namespace xzfs {
namespace {

// Every preset of xz decodes in 65 MiB, whatever the budget is; larger dictionaries (they have to
// be asked for by number) may take up to the budget, unless a limit is given.
constexpr uint64_t kLeastDecoderLimit = uint64_t{128} << 20;

// Tasks that wait for a thread: a full window for eight readers. Beyond that readers decode their
// own.
constexpr size_t kQueueLimit = 64;

// With verify=stream, beside an eighth of the budget: readers that outrun the pool by more finish
// their Blocks themselves.
constexpr uint64_t kMostUnfinishedBytes = uint64_t{32} << 20;

// Without it there are fewer restart points, nothing else.
UniqueFd OpenRestartFile(uint64_t bytes) {
  if (bytes == 0) {
    return UniqueFd();
  }
  const std::string folder = TemporaryFolder();
  UniqueFd file = RegionFile::OpenIn(folder);
  if (!file.valid()) {
    Log(LogLevel::kInfo, "no temporary file for restart points in " + folder + ": " +
                             std::strerror(errno) + "; set TMPDIR or restart_file_size=0");
  }
  return file;
}

}  // namespace

ReadEngine::ReadEngine(const Limits& limits)
    : whole_block_bytes(limits.whole_block_bytes),
      verify(limits.verify),
      decoder_limit(limits.memory_limit_bytes.value_or(
          std::max<uint64_t>(kLeastDecoderLimit, limits.budget_bytes))),
      budget(limits.budget_bytes),
      cache(budget, stats),
      arenas(budget, limits.threads),
      turns(limits.threads),
      damage(stats),
      restarts(budget, OpenRestartFile(limits.restart_file_bytes), limits.restart_file_bytes),
      giants(cache, turns, damage, restarts, stats,
             {.decoder_bytes = decoder_limit, .decoders = limits.threads}),
      indexes(budget, limits.memory_limit_bytes),
      small_files(budget),
      most_unfinished_bytes(std::min<uint64_t>(limits.budget_bytes / 8, kMostUnfinishedBytes)),
      pool(limits.threads, kQueueLimit) {
  damage.OnWrongBytes([this] { cache.DropAll(); });
}

}  // namespace xzfs
