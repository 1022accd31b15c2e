#include "fs/zone_twins.h"

#include <algorithm>
#include <utility>

#include "base/try.h"

namespace xzfs {

std::shared_ptr<SourceTwins> ZoneTwins::AddLocked(const Zone& zone) {
  for (const Entry& entry : entries_) {
    if (entry.top == zone.top) {
      return entry.twins;
    }
  }
  auto twins = std::make_shared<SourceTwins>(
      os_, [this, top = zone.top] { return open_top_(top); }, HomeTopOf(zone));
  entries_.push_back({zone.top, zone.device, twins});
  return twins;
}

void ZoneTwins::Add(const Zone& zone) {
  MutexLock lock(mutex_);
  AddLocked(zone);
}

void ZoneTwins::SetOwn(const Zone& zone, std::shared_ptr<Session> session) {
  std::shared_ptr<SourceTwins> twins;
  {
    MutexLock lock(mutex_);
    twins = AddLocked(zone);
  }
  twins->SetOwn(std::move(session));
}

void ZoneTwins::Drop(const Zone& zone) {
  MutexLock lock(mutex_);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.top == zone.top; });
}

std::vector<std::shared_ptr<SourceTwins>> ZoneTwins::On(uint64_t device) {
  std::vector<std::shared_ptr<SourceTwins>> found;
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    if (entry.device == device) {
      found.push_back(entry.twins);
    }
  }
  return found;
}

bool ZoneTwins::AreTwins(const FileFacts& plain, const FileFacts& compressed) {
  const auto all = On(plain.attributes.st_dev);
  return std::any_of(all.begin(), all.end(),
                     [&](const auto& twins) { return twins->AreTwins(plain, compressed); });
}

Result<bool> ZoneTwins::RemoveHidden(int dir, const std::string& plain,
                                     const std::string& compressed) {
  FileFacts facts;
  if (os_.FactsAt(dir, compressed, &facts) < 0) {
    return false;  // the usual case
  }
  for (const auto& twins : On(facts.attributes.st_dev)) {
    XZFS_ASSIGN_OR_RETURN(const bool removed, twins->RemoveHidden(dir, plain, compressed));
    if (removed) {
      return true;
    }
  }
  return false;
}

}  // namespace xzfs
