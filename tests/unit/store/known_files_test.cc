#include "store/known_files.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace xzfs {
namespace {

Identity IdentityOf(uint64_t inode, int64_t ctime_ns = 0) {
  return {.device = 5, .inode = inode, .size_bytes = 100, .mtime_ns = 7, .ctime_ns = ctime_ns};
}

KnownFile XzOf(uint64_t plain_size, uint64_t file_id = 1) {
  return {.format = Format::kXz, .plain_size = plain_size, .file_id = file_id};
}

TEST(KnownFilesTest, ReturnsEverythingThatWasAdded) {
  KnownFiles known(1 << 20);
  const KnownFile giant = {.format = Format::kLzip,
                           .plain_size = INT64_MAX,
                           .file_id = (uint64_t{1} << 56) - 1,
                           .has_giant_blocks = true};
  const KnownFile none = {};
  known.Add(IdentityOf(1), Suffix::kTlz, giant);
  known.Add(IdentityOf(2), Suffix::kXz, none);
  known.Add(IdentityOf(3), Suffix::kLzma, {.format = Format::kLzmaAlone, .plain_size = 3});
  EXPECT_EQ(known.Find(IdentityOf(1), Suffix::kTlz), giant);
  EXPECT_EQ(known.Find(IdentityOf(2), Suffix::kXz), none) << "known not to be compressed";
  EXPECT_EQ(known.Find(IdentityOf(3), Suffix::kLzma)->format, Format::kLzmaAlone);
  EXPECT_FALSE(known.Find(IdentityOf(4), Suffix::kXz));
}

TEST(KnownFilesTest, EveryPartOfTheIdentityCounts) {
  KnownFiles known(1 << 20);
  const Identity id = {.device = 1, .inode = 2, .size_bytes = 3, .mtime_ns = 4, .ctime_ns = 5};
  known.Add(id, Suffix::kXz, XzOf(10));
  ASSERT_TRUE(known.Find(id, Suffix::kXz));
  for (uint64_t Identity::*part : {&Identity::device, &Identity::inode, &Identity::size_bytes}) {
    Identity other = id;
    ++(other.*part);
    EXPECT_FALSE(known.Find(other, Suffix::kXz));
  }
  for (int64_t Identity::*part : {&Identity::mtime_ns, &Identity::ctime_ns}) {
    Identity other = id;
    ++(other.*part);
    EXPECT_FALSE(known.Find(other, Suffix::kXz));
  }
}

// An inode may have several names: a file that is no .lz file may be an .xz file.
TEST(KnownFilesTest, TheSuffixCountsAndSuffixesOfOneFormatAreEqual) {
  KnownFiles known(1 << 20);
  known.Add(IdentityOf(1), Suffix::kLz, {});
  known.Add(IdentityOf(1), Suffix::kXz, XzOf(10));
  EXPECT_EQ(known.Find(IdentityOf(1), Suffix::kLz)->format, std::nullopt);
  EXPECT_EQ(known.Find(IdentityOf(1), Suffix::kTxz), XzOf(10));
  EXPECT_FALSE(known.Find(IdentityOf(1), Suffix::kTlz));
  EXPECT_FALSE(known.Find(IdentityOf(1), Suffix::kLzma));
}

TEST(KnownFilesTest, ANewVersionTakesThePlaceOfTheOldOne) {
  KnownFiles known(1);  // one bucket
  known.Add(IdentityOf(1), Suffix::kXz, XzOf(1));
  for (uint64_t inode = 2; inode <= 8; ++inode) {
    known.Add(IdentityOf(inode), Suffix::kXz, XzOf(inode));
  }
  for (int64_t change = 1; change <= 100; ++change) {
    known.Add(IdentityOf(8, change), Suffix::kXz, XzOf(80));
  }
  EXPECT_FALSE(known.Find(IdentityOf(8), Suffix::kXz));
  EXPECT_EQ(known.Find(IdentityOf(8, 100), Suffix::kXz), XzOf(80));
  for (uint64_t inode = 1; inode <= 7; ++inode) {
    EXPECT_EQ(known.Find(IdentityOf(inode), Suffix::kXz), XzOf(inode)) << "the others stay";
  }
}

TEST(KnownFilesTest, AFullBucketLosesItsOldest) {
  KnownFiles known(1);
  for (uint64_t inode = 1; inode <= 9; ++inode) {
    known.Add(IdentityOf(inode), Suffix::kXz, XzOf(inode));
  }
  EXPECT_FALSE(known.Find(IdentityOf(1), Suffix::kXz));
  for (uint64_t inode = 2; inode <= 9; ++inode) {
    EXPECT_EQ(known.Find(IdentityOf(inode), Suffix::kXz), XzOf(inode));
  }
}

TEST(KnownFilesTest, TheFirstToAddAVersionWins) {
  KnownFiles known(1);
  for (uint64_t inode = 1; inode <= 8; ++inode) {
    EXPECT_EQ(known.Add(IdentityOf(inode), Suffix::kXz, XzOf(5, inode)), XzOf(5, inode));
  }
  for (uint64_t inode = 1; inode <= 8; ++inode) {
    EXPECT_EQ(known.Add(IdentityOf(inode), Suffix::kXz, XzOf(5, 99)), XzOf(5, inode))
        << "or what is cached under the first id would be decoded twice";
  }
}

TEST(KnownFilesTest, KeepsToItsSizeAndUsesMostOfIt) {
  constexpr size_t kBytes = 1 << 20;
  KnownFiles known(kBytes);
  EXPECT_LE(known.memory_bytes(), kBytes);
  EXPECT_GT(known.memory_bytes(), kBytes / 4);
  // As many files as fit without collisions, with inode numbers as file systems give them.
  const uint64_t files = known.memory_bytes() / 56;
  for (uint64_t i = 0; i < files; ++i) {
    known.Add(IdentityOf(1000 + i * 3), Suffix::kXz, XzOf(i));
  }
  uint64_t found = 0;
  for (uint64_t i = 0; i < files; ++i) {
    const auto kept = known.Find(IdentityOf(1000 + i * 3), Suffix::kXz);
    EXPECT_TRUE(!kept || *kept == XzOf(i));
    found += kept ? 1 : 0;
  }
  EXPECT_LE(found, files);
  EXPECT_GT(found, files * 3 / 4);
}

TEST(KnownFilesTest, ThreadsSeeWholeEntries) {
  KnownFiles known(1);
  std::atomic<int> torn{0};
  std::atomic<int> found{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 0; i < 20000; ++i) {
        const uint64_t inode = i % 20;
        known.Add(IdentityOf(inode), Suffix::kXz, XzOf(inode * 1000, inode));
        if (const auto kept = known.Find(IdentityOf((i + t) % 20), Suffix::kXz)) {
          ++found;
          torn += *kept == XzOf((i + t) % 20 * 1000, (i + t) % 20) ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(torn, 0);
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace xzfs
