// Operations on names that are not through, in memory or on the disk.
#pragma once

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

}  // namespace xzfs
