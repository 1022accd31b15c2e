// What can be asked of a mount while it runs.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>

#include "base/log.h"
#include "fs/filesystem.h"

namespace xzfs {
namespace {

constexpr std::array<std::string_view, 5> kLiveKeys = {"cache_size", "compress_threads", "settle",
                                                       "preset", "log_level"};

}  // namespace

Options Filesystem::live_options() {
  MutexLock lock(live_mutex_);
  return live_;
}

EncodeOptions Filesystem::encode_options() {
  MutexLock lock(live_mutex_);
  return {.preset = live_.preset, .extreme = live_.extreme, .check = live_.check};
}

Status Filesystem::SetLive(const std::string& option) {
  const std::string key = option.substr(0, option.find('='));
  MutexLock lock(live_mutex_);
  Options changed = live_;
  XZFS_RETURN_IF_ERROR(ApplyOption(option, changed));
  if (std::find(kLiveKeys.begin(), kLiveKeys.end(), key) == kLiveKeys.end()) {
    return Fail(EINVAL, key +
                            " can't change while the mount runs (cache_size, compress_threads, "
                            "settle, preset and log_level can): unmount, then mount with it");
  }
  XZFS_RETURN_IF_ERROR(ResolveDefaults(changed));
  live_ = changed;
  // All of them: each costs nothing where nothing has changed.
  engine_.cache.SetBudget(changed.cache_size_bytes);
  encoders_.SetThreads(changed.compress_threads);
  committer_.SetThreads(changed.compress_threads);
  committer_.SetSettle(std::chrono::nanoseconds(static_cast<int64_t>(changed.settle_s * 1e9)));
  SetLogLevel(changed.log_level);
  Log(LogLevel::kInfo, "set " + option);
  return {};
}

bool Filesystem::MayDecodeFor(NodeId id, const std::string& key) {
  const NodePtr node = key == "user.xzfs.info" ? nodes_.Find(id) : nullptr;
  return node != nullptr && node->kind == StoredKind::kCompressed && node->format != Format::kXz;
}

void Filesystem::RunCommand(NodeId node, const std::string& key, const Caller& caller,
                            const CommandDone& done) {
  if (const auto known = FindNode(node); !known) {
    done(tl::unexpected(known.error()));
  } else if (!commands_ || !commands_(node, key, caller, done)) {
    done(Fail(ENODATA, "no attribute " + key));
  }
}

void Filesystem::DropCaches(std::function<void()> done) {
  // Our own after the kernel's: pages that are dropped may be asked for again at once.
  const auto drop_ours = [this, done = std::move(done)] {
    engine_.cache.DropAll();
    engine_.small_files.DropAll();
    done();
  };
  std::vector<PageRange> all;
  for (const NodeId id : nodes_.FileIds()) {
    all.push_back({.node = id});
  }
  if (!drop_pages_ || !drop_pages_(std::move(all), drop_ours)) {
    drop_ours();
  }
}

}  // namespace xzfs
