// Regions are whole pages, first fit. Nothing is given back to the disk while anything is used:
// regions come and go all the time, and to overwrite a page costs less than to get a new one.
//
// A region belongs to the caller that got it until it's freed, so it's written and read without the
// lock.
#include "cache/region_file.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "base/page_memory.h"

namespace xzfs {
namespace {

bool WriteAll(int file, std::span<const std::byte> bytes, uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t put = pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<size_t>(put));
    at += static_cast<uint64_t>(put);
  }
  return true;
}

}  // namespace

UniqueFd RegionFile::OpenIn(const std::string& folder) {
  UniqueFd file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) {
    // Not every file system has files without a name.
    std::string path = folder + "/xzfs-XXXXXX";
    file.Reset(mkostemp(path.data(), O_CLOEXEC));
    if (file.valid()) {
      unlink(path.c_str());
    }
  }
  return file;
}

RegionFile::RegionFile(UniqueFd file, uint64_t limit_bytes)
    : file_(std::move(file)), limit_bytes_(file_.valid() ? limit_bytes : 0) {}

std::optional<RegionFile::Region> RegionFile::Allocate(uint64_t bytes) {
  MutexLock lock(mutex_);
  if (refused_) {
    return std::nullopt;
  }
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    const auto [offset, size] = *it;
    if (size < bytes) {
      continue;
    }
    free_.erase(it);
    if (size > bytes) {
      free_.emplace(offset + bytes, size - bytes);
    }
    return Region{offset, bytes};
  }
  if (bytes > limit_bytes_ - end_) {
    return std::nullopt;
  }
  const Region region{end_, bytes};
  end_ += bytes;
  return region;
}

std::optional<RegionFile::Region> RegionFile::Write(std::span<const std::byte> first,
                                                    std::span<const std::byte> second) {
  const size_t bytes = first.size() + second.size();
  const std::optional<Region> region = Allocate(RoundUp(std::max<size_t>(bytes, 1), kPageBytes));
  if (!region) {
    return std::nullopt;
  }
  if (!WriteAll(file_.get(), first, region->offset) ||
      !WriteAll(file_.get(), second, region->offset + first.size())) {
    MutexLock lock(mutex_);
    Release(*region);
    refused_ = end_ != 0;
    return std::nullopt;
  }
  return region;
}

bool RegionFile::Read(const Region& region, std::span<std::byte> out) const {
  for (uint64_t at = region.offset; !out.empty();) {
    const ssize_t got = pread(file_.get(), out.data(), out.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return false;
    }
    out = out.subspan(static_cast<size_t>(got));
    at += static_cast<uint64_t>(got);
  }
  return true;
}

void RegionFile::Free(const Region& region) {
  MutexLock lock(mutex_);
  refused_ = false;
  Release(region);
}

void RegionFile::Release(const Region& region) {
  uint64_t begin = region.offset;
  uint64_t end = region.offset + region.bytes;
  auto after = free_.lower_bound(begin);
  if (after != free_.end() && after->first == end) {
    end += after->second;
    after = free_.erase(after);
  }
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == begin) {
      begin = before->first;
      free_.erase(before);
    }
  }
  if (end != end_) {
    free_.emplace(begin, end - begin);
    return;
  }
  end_ = begin;
  if (end_ == 0 && ftruncate(file_.get(), 0) != 0) {
    // It stays as large as it was; its regions are used again all the same.
  }
}

}  // namespace xzfs
