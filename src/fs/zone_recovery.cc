#include "fs/zone_recovery.h"

#include <cerrno>
#include <utility>

#include "base/idle_priority.h"
#include "base/log.h"
#include "base/try.h"
#include "fs/orphans.h"
#include "fs/recovery.h"

namespace xzfs {

Status ZoneRecovery::RecoverZone(const ZonePtr& zone, const DescriptorPtr& top) {
  Recovery(*this, parts_, zone, top)
      .Run(zone->top == kRootNode ? RecoveryTime::kAtMount : RecoveryTime::kLater);
  return {};
}

Status ZoneRecovery::FindNameOf(const NodePtr& node) {
  ZonePtr zone = parts_.tree.tops().ZoneOf(node->id);
  while (zone != nullptr &&
         zone->kind ==
             ZoneKind::kPart) {  // hard links may lead into neighbouring zones of the file system
    zone = parts_.tree.tops().ZoneOf(parts_.tree.nodes().LocationOf(zone->top).parent);
  }
  if (zone == nullptr) {
    return Fail(ESTALE, "the directories above are not known any more");
  }
  XZFS_ASSIGN_OR_RETURN(const NodePtr top, parts_.tree.FindNode(zone->top));
  XZFS_ASSIGN_OR_RETURN(DescriptorPtr open, parts_.tree.OpenNode(top));
  return Recovery(*this, parts_, zone, std::move(open)).FindName(FileId::Of(node->identity));
}

void ZoneRecovery::AddOrphans(const ZonePtr& zone, std::vector<Orphan> orphans) {
  if (orphans.empty()) {
    return;
  }
  parts_.orphans.Add(std::move(orphans));
  DescriptorPtr top;
  {
    MutexLock lock(zone->mutex);
    top = zone->directory;
  }
  MutexLock lock(mutex_);
  if (!searches_end_) {
    searches_.emplace_back([this, zone, top] {
      UseLowPriority();
      Recovery(*this, parts_, zone, top).Search();
    });
  }
}

void ZoneRecovery::EndSearches() {
  std::vector<std::thread> searches;
  {
    MutexLock lock(mutex_);
    searches_end_ = true;
    searches.swap(searches_);
  }
  for (std::thread& search : searches) {
    search.join();
  }
}

}  // namespace xzfs
