#include "fs/inode_numbers.h"

#include <gtest/gtest.h>

#include <set>

#include "base/identity.h"

namespace xzfs {
namespace {

constexpr uint64_t kRoot = 7;

TEST(InodeNumbersTest, NumbersOfTheRootsDeviceStayAsTheyAre) {
  InodeNumbers numbers(kRoot);
  for (const uint64_t inode : {uint64_t{1}, uint64_t{256}, (uint64_t{1} << 62) - 1}) {
    EXPECT_EQ(numbers.Of({kRoot, inode}), inode);
  }
}

TEST(InodeNumbersTest, NoTwoFilesOfAnyDevicesShareOne) {
  InodeNumbers numbers(kRoot);
  std::set<uint64_t> given;
  size_t count = 0;
  for (const uint64_t device : {kRoot, uint64_t{8}, uint64_t{0x10000000007}}) {
    for (const uint64_t inode :
         {uint64_t{2}, uint64_t{256}, uint64_t{1} << 47, uint64_t{1} << 48, uint64_t{1} << 61,
          uint64_t{1} << 62, uint64_t{1} << 63, ~uint64_t{0}}) {
      given.insert(numbers.Of({device, inode}));
      EXPECT_EQ(given.size(), ++count) << device << ":" << inode;
    }
  }
}

TEST(InodeNumbersTest, AFileKeepsItsOwn) {
  InodeNumbers numbers(kRoot);
  const uint64_t first = numbers.Of({9, 256});
  const uint64_t large = numbers.Of({9, uint64_t{1} << 60});
  numbers.Of({10, 256});
  EXPECT_EQ(numbers.Of({9, 256}), first);
  EXPECT_EQ(numbers.Of({9, uint64_t{1} << 60}), large);
}

TEST(InodeNumbersTest, MoreDevicesThanTagsStillGetNumbersOfTheirOwn) {
  InodeNumbers numbers(kRoot);
  std::set<uint64_t> given;
  for (uint64_t device = 100; device < 40'100; ++device) {
    given.insert(numbers.Of({device, 256}));
  }
  EXPECT_EQ(given.size(), 40'000U);
}

TEST(InodeNumbersTest, NumbersWithBit63AloneAreNeverGiven) {
  InodeNumbers numbers(kRoot);
  for (const uint64_t device : {kRoot, uint64_t{8}}) {
    for (int bit = 0; bit < 64; ++bit) {
      EXPECT_NE(numbers.Of({device, uint64_t{1} << bit}) >> 62, 2U);
    }
  }
}

}  // namespace
}  // namespace xzfs
