// Options that can change while the mount runs.
#pragma once

#include <string>

#include "base/mutex.h"
#include "cache/read_engine.h"
#include "fs/committer.h"
#include "fs/options.h"
#include "store/encode_pool.h"
#include "xz/block_encoder.h"
#include "xzfs/result.h"

namespace xzfs {

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
