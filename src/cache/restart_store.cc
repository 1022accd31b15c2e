// Memory first: a point there costs two copies and no writing to a disk. What is in the file is
// plain data only, the decoders' histories; marks, which may have pointers, never leave memory.
// So if the file gives back other bytes than it got, a Check fails, and no access is out of bounds.
#include "cache/restart_store.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/page_memory.h"

namespace xzfs {
namespace {

// At the Block's start there is no history.
size_t PagesOf(size_t bytes) { return RoundUp(std::max<size_t>(bytes, 1), kPageBytes); }

size_t BytesOf(const HistoryPieces& history) { return history[0].size() + history[1].size(); }

}  // namespace

RestartPoint::~RestartPoint() {
  if (pages_.data() != nullptr) {
    UnmapPages(pages_.data(), PagesOf(pages_.size()));
  }
  if (region_) {
    store_.file_.Free(*region_);
  }
  MutexLock lock(store_.mutex_);
  store_.memory_bytes_ -= memory_bytes_;
}

// Counts `bytes` of memory for `point` if all points then take no more than `most`.
bool RestartStore::Count(RestartPoint& point, uint64_t bytes, uint64_t most) {
  MutexLock lock(mutex_);
  if (memory_bytes_ + bytes > most) {
    return false;
  }
  memory_bytes_ += bytes;
  point.memory_bytes_ = bytes;
  return true;
}

bool RestartStore::SaveInMemory(RestartPoint& point, const HistoryPieces& history) {
  const uint64_t bytes = point.mark_.coder.size() + PagesOf(BytesOf(history));
  if (!Count(point, bytes, HistoryShare())) {
    return false;
  }
  point.charge_ = budget_.Reserve(bytes);
  std::byte* const pages = MapPages(PagesOf(BytesOf(history)));
  if (pages == nullptr) {
    return false;
  }
  point.pages_ = {pages, BytesOf(history)};
  std::copy(history[1].begin(), history[1].end(),
            std::copy(history[0].begin(), history[0].end(), pages));
  return true;
}

bool RestartStore::SaveInFile(RestartPoint& point, const HistoryPieces& history) {
  const uint64_t bytes = point.mark_.coder.size();
  if (!Count(point, bytes, budget_.total() / 4)) {
    return false;
  }
  point.charge_ = budget_.Reserve(bytes);
  point.region_ = file_.Write(history[0], history[1]);
  return point.region_.has_value();
}

RestartPointPtr RestartStore::Save(BlockDecoder& decoder, Place place) try {
  const HistoryPieces history = decoder.history();
  auto point = std::make_shared<RestartPoint>(*this, BytesOf(history));
  point->mark_ = decoder.Mark();
  if (SaveInMemory(*point, history)) {
    return point;
  }
  if (place == Place::kMemory) {
    return nullptr;
  }
  point = std::make_shared<RestartPoint>(*this, BytesOf(history));
  point->mark_ = decoder.Mark();
  return SaveInFile(*point, history) ? point : nullptr;
} catch (const std::bad_alloc&) {
  return nullptr;
}

bool RestartStore::Restore(const RestartPoint& point, BlockDecoder& decoder) const {
  const std::span<std::byte> history = decoder.Restore(point.mark_);
  if (history.size() != point.history_bytes_) {
    return false;
  }
  if (point.region_) {
    return file_.Read(*point.region_, history);
  }
  std::memcpy(history.data(), point.pages_.data(), history.size());
  return true;
}

}  // namespace xzfs
