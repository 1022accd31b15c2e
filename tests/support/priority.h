// Whether the system lets a thread change its priority.
#pragma once

#include <sched.h>

#include <thread>

namespace xzfs {

// The policy of a thread at idle priority. If threads may not raise their priority again, none
// lowers it.
inline int LowestPolicy() {
  bool rises = false;
  std::thread([&rises] {
    const sched_param none = {};
    rises = sched_setscheduler(0, SCHED_IDLE, &none) == 0 &&
            sched_setscheduler(0, SCHED_OTHER, &none) == 0;
  }).join();
  return rises ? SCHED_IDLE : SCHED_OTHER;
}

}  // namespace xzfs
