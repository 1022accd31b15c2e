// A loop whose passes are shared out to idle threads.
#pragma once

#include <cstddef>
#include <functional>

#include "base/worker_pool.h"

namespace xzfs {

// Calls `body` once for each number below `count`, on this thread and on up to `helpers` threads of
// `pool` that are free in time. Returns when all calls have returned; then nothing refers to `body`
// any more. `group`: how many numbers a thread takes at once, since a shared counter costs more
// than a short call. `body` is called by several threads at once. If it throws, no further calls
// begin, except in a group that another thread has taken. The first exception is thrown here when
// all calls have returned. Blocks, but never for a thread that hasn't begun to help.
void ParallelFor(WorkerPool& pool, unsigned helpers, size_t count,
                 const std::function<void(size_t)>& body, size_t group = 4);

}  // namespace xzfs
