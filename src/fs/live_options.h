// Options that can change while the mount runs.
#pragma once

#include <string>

#include "base/mutex.h"
#include "fs/options.h"
#include "xz/block_encoder.h"
#include "xzfs/result.h"

namespace xzfs {

class Committer;
class EncodePool;
struct ReadEngine;

// Thread-safe.
class LiveOptions {
 public:
  LiveOptions(const Options& options, ReadEngine& engine, EncodePool& encoders,
              Committer& committer)
      : engine_(engine), encoders_(encoders), committer_(committer), live_(options) {}

  // Changes one option, `key=value`. Errors: EINVAL or ENOENT with one line for the user.
  Status SetLive(const std::string& option) EXCLUDES(mutex_);
  // All options, with their present values.
  Options Get() EXCLUDES(mutex_);
  EncodeOptions encode_options() EXCLUDES(mutex_);

 private:
  ReadEngine& engine_;
  EncodePool& encoders_;
  Committer& committer_;
  Mutex mutex_;
  Options live_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
