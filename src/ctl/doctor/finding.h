// What `xzfsctl doctor` finds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace xzfs {

// One thing that was looked at.
struct Finding {
  enum class Level {
    kOk,
    kNote,     // good to know
    kWarning,  // may cost time, space or data one day
    kProblem,  // something does not work
  };

  Level level = Level::kOk;
  std::string subject;  // such as "kernel", or a path
  std::string text;     // how it is, in one line
  std::string command;  // what to type; empty: there is nothing to do
};

using Findings = std::vector<Finding>;

// "1 file", "2 files".
inline std::string Count(uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

}  // namespace xzfs
