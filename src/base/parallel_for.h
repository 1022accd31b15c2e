// A loop whose passes are shared out to idle threads.
#pragma once

#include <cstddef>
#include <functional>

#include "base/worker_pool.h"

namespace xzfs {

// Calls `body` once for each number below `count`: on this thread and, as far as threads of `pool`
// are free in time, on up to `helpers` of them. Returns when all calls have returned; then nothing
// refers to `body` any more. `group`: so many numbers are taken at once, for a counter that is
// shared costs more than a short call. `body` is called by several threads at once. When it throws
// no further calls begin (but those in a group that another thread has taken), and the first
// exception is thrown here once all have returned. Blocks: never for a thread that hasn't begun to
// help.
void ParallelFor(WorkerPool& pool, unsigned helpers, size_t count,
                 const std::function<void(size_t)>& body, size_t group = 4);

}  // namespace xzfs
