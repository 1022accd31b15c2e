#include "base/page_pool.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <new>
#include <random>
#include <vector>

namespace xzfs {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// How many of the pages of a buffer are in physical memory.
size_t ResidentPages(std::byte* buffer, size_t bytes) {
  std::vector<unsigned char> resident(bytes / kPageBytes);
  EXPECT_EQ(mincore(buffer, bytes, resident.data()), 0);
  size_t count = 0;
  for (const unsigned char page : resident) {
    count += page & 1;
  }
  return count;
}

TEST(PagePoolTest, UsesAFreedBufferAgainBeforeAnyOther) {
  PagePool pool(4 * kMiB);
  std::byte* const a = pool.Allocate(kMiB);
  std::byte* const b = pool.Allocate(kMiB);
  std::memset(a, 1, kMiB);
  pool.Free(a, kMiB);
  EXPECT_EQ(ResidentPages(a, kMiB), kMiB / kPageBytes);
  EXPECT_EQ(pool.Allocate(kMiB - 100), a);
  pool.Free(a, kMiB - 100);
  pool.Free(b, kMiB);
}

TEST(PagePoolTest, GivesBackBuffersThatItMayNotKeep) {
  PagePool pool(kMiB);
  std::byte* const a = pool.Allocate(kMiB);
  std::byte* const b = pool.Allocate(2 * kMiB);
  std::memset(a, 1, kMiB);
  std::memset(b, 1, 2 * kMiB);
  pool.Free(a, kMiB);
  pool.Free(b, 2 * kMiB);
  EXPECT_EQ(ResidentPages(a, kMiB), kMiB / kPageBytes);
  EXPECT_EQ(ResidentPages(b, 2 * kMiB), 0u);
}

TEST(PagePoolTest, RefusesMoreMemoryThanAnyMachineHas) {
  PagePool pool(kMiB);
  EXPECT_THROW(pool.Allocate(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(pool.Allocate(SIZE_MAX / 2 - kPageBytes), std::bad_alloc);
  pool.Free(pool.Allocate(0), 0);
}

TEST(PagePoolTest, BuffersNeverOverlapInAnyOrderOfUse) {
  PagePool pool(8 * kMiB);
  std::mt19937 random(1);
  std::map<std::byte*, std::pair<size_t, int>> live;
  size_t reused = 0;
  std::map<std::byte*, int> seen;
  for (int step = 0; step < 4000; ++step) {
    if (live.size() < 40 && random() % 5 < 3) {
      const size_t bytes = 1 + random() % (3 * kMiB);
      std::byte* const at = pool.Allocate(bytes);
      const int mark = static_cast<int>(random() % 256);
      at[0] = at[bytes - 1] = at[bytes / 2] = std::byte(mark);
      const auto after = live.lower_bound(at);
      ASSERT_TRUE(after == live.end() || at + bytes <= after->first);
      if (after != live.begin()) {
        const auto before = std::prev(after);
        ASSERT_LE(before->first + before->second.first, at);
      }
      reused += seen[at]++ != 0;
      live[at] = {bytes, mark};
    } else if (!live.empty()) {
      auto it = live.begin();
      std::advance(it, random() % live.size());
      const auto [bytes, mark] = it->second;
      EXPECT_EQ(it->first[0], std::byte(mark));
      EXPECT_EQ(it->first[bytes / 2], std::byte(mark));
      EXPECT_EQ(it->first[bytes - 1], std::byte(mark));
      pool.Free(it->first, bytes);
      live.erase(it);
    }
  }
  EXPECT_GT(reused, 100u);
  for (const auto& [at, buffer] : live) {
    pool.Free(at, buffer.first);
  }
}

}  // namespace
}  // namespace xzfs
