// Options that can change while the mount runs.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/mutex.h"
#include "fs/options.h"
#include "xz/block_encoder.h"
#include "xzfs/result.h"

namespace xzfs {

class Committer;
class EncodePool;
class PlainRules;
struct ReadEngine;

// Thread-safe.
class LiveOptions {
 public:
  LiveOptions(const Options& options, PlainRules& rules, ReadEngine& engine, EncodePool& encoders,
              Committer& committer)
      : rules_(rules),
        engine_(engine),
        encoders_(encoders),
        committer_(committer),
        live_(options) {}

  // `on_change` is called after each change, without a lock. To be called before the mount's Start.
  void SetListener(std::function<void()> on_change) { on_change_ = std::move(on_change); }

  // Changes one option, `key=value`. Errors: EINVAL or ENOENT with one line for the user.
  Status SetLive(const std::string& option) EXCLUDES(mutex_);
  // All options, with their present values.
  Options Get() EXCLUDES(mutex_);
  EncodeOptions encode_options() EXCLUDES(mutex_);

 private:
  Status Change(const std::string& option, const std::string& key) EXCLUDES(mutex_);

  PlainRules& rules_;
  ReadEngine& engine_;
  EncodePool& encoders_;
  Committer& committer_;
  std::function<void()> on_change_;
  Mutex mutex_;
  Options live_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
