// Memory first: a point there costs two copies and no writing to a disk. What is in the file is
// plain data only, the dictionaries; liblzma's structures, with their pointers, never leave memory.
// So if the file gives back other bytes than it got, a Check fails, and no access is out of bounds.
#include "cache/restart_store.h"

#include <cstring>
#include <new>

#include "base/page_memory.h"

namespace xzfs {

RestartPoint::~RestartPoint() {
  if (!pages_.empty()) {
    UnmapPages(pages_.data(), RoundUp(pages_.size(), kPageBytes));
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

bool RestartStore::SaveInMemory(RestartPoint& point, std::span<const std::byte> dictionary) {
  const uint64_t bytes = point.mark_.coder.size() + RoundUp(dictionary.size(), kPageBytes);
  if (!Count(point, bytes, DictionaryShare())) {
    return false;
  }
  point.charge_ = budget_.Reserve(bytes);
  std::byte* const pages = MapPages(RoundUp(dictionary.size(), kPageBytes));
  if (pages == nullptr) {
    return false;
  }
  point.pages_ = {pages, dictionary.size()};
  std::memcpy(pages, dictionary.data(), dictionary.size());
  return true;
}

bool RestartStore::SaveInFile(RestartPoint& point, std::span<const std::byte> dictionary) {
  const uint64_t bytes = point.mark_.coder.size();
  if (!Count(point, bytes, budget_.total() / 4)) {
    return false;
  }
  point.charge_ = budget_.Reserve(bytes);
  point.region_ = file_.Write(dictionary);
  return point.region_.has_value();
}

RestartPointPtr RestartStore::Save(BlockDecoder& decoder, Place place) try {
  const std::span<const std::byte> dictionary = decoder.dictionary();
  auto point = std::make_shared<RestartPoint>(*this);
  point->mark_ = decoder.Mark();
  if (SaveInMemory(*point, dictionary)) {
    return point;
  }
  if (place == Place::kMemory) {
    return nullptr;
  }
  point = std::make_shared<RestartPoint>(*this);
  point->mark_ = decoder.Mark();
  return SaveInFile(*point, dictionary) ? point : nullptr;
} catch (const std::bad_alloc&) {
  return nullptr;
}

bool RestartStore::Restore(const RestartPoint& point, BlockDecoder& decoder) const {
  const std::span<std::byte> dictionary = decoder.dictionary();
  if (point.region_) {
    if (!file_.Read(*point.region_, dictionary)) {
      return false;
    }
  } else {
    std::memcpy(dictionary.data(), point.pages_.data(), dictionary.size());
  }
  decoder.Restore(point.mark_);
  return true;
}

}  // namespace xzfs
