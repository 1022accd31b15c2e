#include "ctl/replace/encoding.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "base/try.h"

namespace xzfs {
namespace {

// As the mount's block_size.
constexpr uint64_t kLeastBlockBytes = 4096;
constexpr uint64_t kMostBlockBytes = uint64_t{1} << 30;
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kDefaultPreset = 6;

constexpr std::pair<const char*, Check> kChecks[] = {{"none", Check::kNone},
                                                     {"crc32", Check::kCrc32},
                                                     {"crc64", Check::kCrc64},
                                                     {"sha256", Check::kSha256}};

}  // namespace

void EncodingOptions::Declare(Arguments& arguments) {
  arguments.Preset(preset, "xz's preset (default: 6)");
  arguments.Flag("-e,--extreme", extreme, "slower; usually only slightly smaller");
  arguments.Choice("-C,--check", check, {"none", "crc32", "crc64", "sha256"},
                   "integrity check (default: crc64)");
  arguments.Size("--block-size", block_bytes,
                 "plain bytes in a Block: what a random read decodes (default: 1MiB)");
  DeclareThreads(arguments, threads);
}

Status EncodingOptions::Resolve() {
  if (block_bytes < kLeastBlockBytes || block_bytes > kMostBlockBytes) {
    return Fail(EINVAL, "--block-size is not between 4KiB and 1GiB");
  }
  threads = threads == 0 ? UsableProcessors() : threads;
  return {};
}

EncodeOptions EncodingOptions::encode() const {
  EncodeOptions options;
  options.preset = preset == kNoPreset ? kDefaultPreset : preset;
  options.extreme = extreme;
  for (const auto& [name, id] : kChecks) {
    if (check == name) {
      options.check = id;
    }
  }
  return options;
}

void DeclareThreads(Arguments& arguments, unsigned& threads) {
  arguments.Number("-T,--threads", threads, 0, kMostThreads,
                   "threads (default, and 0: one per usable processor)");
}

}  // namespace xzfs
