// Whether the threads of this process wait for something.
#pragma once

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace xzfs {

inline bool IsAsleep(const std::filesystem::path& task) {
  std::ifstream file(task / "stat");
  std::string stat;
  std::getline(file, stat);
  const size_t name_end = stat.rfind(')');
  return name_end == std::string::npos || stat[name_end + 2] == 'S';
}

// Waits until every other thread waits for something, so that started work has come as far as it
// can.
inline bool WaitUntilAllOthersWait() {
  const std::string self = std::to_string(gettid());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < deadline) {
    bool all = true;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      all = all && (task.path().filename() == self || IsAsleep(task.path()));
    }
    if (all) {
      return true;
    }
    std::this_thread::yield();
  }
  return false;
}

}  // namespace xzfs
