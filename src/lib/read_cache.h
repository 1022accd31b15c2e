// What a ReadCache is made of.
#pragma once

#include "cache/read_engine.h"
#include "xzfs/reader.h"

namespace xzfs {

// The engine of a mount, at work. Thread-safe.
class ReadCache::Impl {
 public:
  explicit Impl(const ReadEngine::Limits& limits) : threads(limits.threads), engine(limits) {
    engine.Start();
  }

  const unsigned threads;
  ReadEngine engine;
};

// For tests, which count what is decoded.
struct ReadCacheInside {
  static const ReadEngine& EngineOf(const ReadCache& cache) { return cache.impl_->engine; }
};

}  // namespace xzfs
