// Operations on names that are not through, in memory or on the disk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/descriptor_cache.h"
#include "store/session.h"

namespace xzfs {

// The steps that were done of an operation that failed, the last one first.
struct HalfDone {
  struct Step {
    DescriptorPtr from;
    std::string from_name;
    DescriptorPtr to;
    std::string to_name;
    uint64_t inode = 0;
  };
  std::vector<Step> steps;
  std::shared_ptr<Session> session;
  std::string intent;
  std::vector<DescriptorPtr> dirs;        // that the steps change
  std::vector<IntentStep> intended = {};  // what the intent says
};

// An intent that is of no use as soon as `dirs` are on the disk.
struct DoneIntent {
  std::shared_ptr<Session> session;
  std::string name;
  std::vector<DescriptorPtr> dirs;
  std::vector<IntentStep> steps;

  bool Concerns(const std::vector<IntentStep>& others) const {
    const auto has_name = [this](const std::string& path) {
      return std::any_of(steps.begin(), steps.end(), [&](const IntentStep& step) {
        return !path.empty() && (step.from == path || step.to == path);
      });
    };
    return std::any_of(others.begin(), others.end(), [&](const IntentStep& other) {
      return has_name(other.from) || has_name(other.to);
    });
  }
};

}  // namespace xzfs
