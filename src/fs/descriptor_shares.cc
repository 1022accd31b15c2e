#include "fs/descriptor_shares.h"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>

#include "base/fail.h"

namespace xzfs {
namespace {

// /dev/fuse, the log, sockets, the source, sessions with their locks.
constexpr uint64_t kFixed = 64;
// A request has two directories open, and a file in each; there may be 64 requests at once.
constexpr uint64_t kForRequests = 64 * 4;
// A commit: the stored file, its directory, the new file, the overlay's two, a base that is read.
constexpr uint64_t kForThread = 8;
// More than these are of no use.
constexpr uint64_t kMostCached = 512;
constexpr uint64_t kMostOverlays = 1024;
constexpr uint64_t kLeast = 16;

}  // namespace

DescriptorShares DescriptorShares::Of(uint64_t limit, unsigned threads) {
  const uint64_t needed = kFixed + kForRequests + kForThread * threads;
  // With a small limit: not all of these are needed at once, as a rule.
  const uint64_t rest = limit - std::min(needed, limit / 2);
  DescriptorShares shares;
  shares.cached = std::clamp(rest / 4, kLeast, kMostCached);
  shares.overlays = std::clamp(rest / 4, kLeast, kMostOverlays);
  const uint64_t used = shares.cached + shares.overlays;
  shares.held = std::max(kLeast, rest > used ? rest - used : 0);
  return shares;
}

uint64_t DescriptorLimit() {
  struct rlimit limit = {};
  // Without a limit, or if it is unknown: the usual limit of systems.
  constexpr uint64_t kUsual = uint64_t{1} << 19;
  return getrlimit(RLIMIT_NOFILE, &limit) != 0 ? uint64_t{1024}
                                               : std::min<uint64_t>(limit.rlim_cur, kUsual);
}

Result<DescriptorQuota::Held> DescriptorQuota::Hold(size_t count) {
  if (used_.fetch_add(count) + count > limit_) {
    used_ -= count;
    return Fail(EMFILE,
                "more files are open for writing than the limit of descriptors allows "
                "(RLIMIT_NOFILE, LimitNOFILE= of a service)");
  }
  return Held(*this, count);
}

}  // namespace xzfs
