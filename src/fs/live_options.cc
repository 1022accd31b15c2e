#include "fs/live_options.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/log.h"
#include "base/option_values.h"
#include "base/try.h"
#include "cache/read_engine.h"
#include "fs/committer.h"
#include "fs/plain_rules.h"
#include "store/encode_pool.h"

namespace xzfs {

Options LiveOptions::Get() {
  MutexLock lock(mutex_);
  return live_;
}

EncodeOptions LiveOptions::encode_options() {
  MutexLock lock(mutex_);
  return {.preset = live_.preset, .extreme = live_.extreme, .check = live_.check};
}

Status LiveOptions::SetLive(const std::string& option) {
  const std::string key = option.substr(0, option.find('='));
  XZFS_RETURN_IF_ERROR(Change(option, key));
  if (on_change_) {
    on_change_();
  }
  Log(LogLevel::kInfo, "set " + option);
  return {};
}

Status LiveOptions::Change(const std::string& option, const std::string& key) {
  MutexLock lock(mutex_);
  Options changed = live_;
  XZFS_RETURN_IF_ERROR(ApplyOption(option, changed));
  const auto names = LiveOptionNames();
  if (std::find(names.begin(), names.end(), key) == names.end()) {
    return Fail(
        EINVAL,
        key +
            " can't change while the mount runs (cache_size, compress_threads, "
            "settle, preset, min_saving, idle and log_level can): unmount, then mount with the "
            "new value");
  }
  XZFS_RETURN_IF_ERROR(ResolveDefaults(changed));
  live_ = changed;
  // All of them: each costs nothing where nothing has changed.
  engine_.budget.SetTotal(changed.cache_size_bytes);
  encoders_.SetThreads(changed.compress_threads);
  committer_.SetThreads(changed.compress_threads);
  committer_.SetSettle(std::chrono::nanoseconds(static_cast<int64_t>(changed.settle_s * 1e9)));
  rules_.SetLeastSaving(changed.min_saving_percent / 100);
  SetLogLevel(changed.log_level);
  return {};
}

}  // namespace xzfs
