#include "store/saving.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <string>

#include "base/os.h"
#include "base/unique_fd.h"
#include "support/mem_file.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kMiB = uint64_t{1} << 20;

DiskUse Use(uint64_t bytes) { return {.bytes = bytes, .block_bytes = kBlock}; }

std::string Noise(size_t size) {
  std::minstd_rand random(1);
  std::string bytes(size, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(random() >> 8);
  }
  return bytes;
}

struct Pool {
  EncodePool pool{1, kMiB, EncodePool::Priority::kNormal};
  EncodeOptions options{.preset = 0};

  bool Looks(const MemFile& file, uint64_t allocated) {
    const auto looks = LooksWorthIt(SavingRule(), Use(allocated), file, pool, options, nullptr);
    EXPECT_TRUE(looks) << looks.error().message;
    return looks.value_or(false);
  }
};

TEST(SavingRuleTest, ADiskBlockMustBeSaved) {
  const SavingRule rule(0.01);
  EXPECT_FALSE(rule.IsWorthIt(Use(kBlock), 60));
  EXPECT_FALSE(rule.IsWorthIt(Use(2 * kBlock), kBlock + 1));
  EXPECT_TRUE(rule.IsWorthIt(Use(2 * kBlock), kBlock));
  EXPECT_FALSE(rule.IsWorthIt(Use(0), 32));  // one hole
}

TEST(SavingRuleTest, AShareOfTheAllocatedBytesMustBeSaved) {
  const SavingRule rule(0.01);
  EXPECT_FALSE(rule.IsWorthIt(Use(1000 * kBlock), 991 * kBlock));
  EXPECT_TRUE(rule.IsWorthIt(Use(1000 * kBlock), 990 * kBlock));
  EXPECT_FALSE(SavingRule(0.5).IsWorthIt(Use(1000 * kBlock), 501 * kBlock));
  EXPECT_TRUE(SavingRule(0.5).IsWorthIt(Use(1000 * kBlock), 500 * kBlock));
}

TEST(SavingRuleTest, ZeroCompressesEverything) {
  EXPECT_TRUE(SavingRule(0).IsWorthIt(Use(kBlock), 10 * kBlock));
  EXPECT_TRUE(SavingRule(0).IsWorthIt(Use(0), 32));
  struct stat st = {};
  st.st_size = 3;
  EXPECT_FALSE(SavingRule(0).IsHopeless(st));
}

TEST(SavingRuleTest, AFileOfOneDiskBlockIsHopeless) {
  struct stat st = {};
  st.st_blksize = 1 << 20;  // as NFS says: requests, not blocks
  st.st_size = kBlock;
  EXPECT_TRUE(SavingRule().IsHopeless(st));
  st.st_size = kBlock + 1;
  EXPECT_FALSE(SavingRule().IsHopeless(st));
  st.st_blksize = 1024;
  st.st_size = 1025;
  EXPECT_FALSE(SavingRule().IsHopeless(st));
}

TEST(SavingRuleTest, ItIsNotForNamesWithTheEscapeSuffix) {
  EXPECT_TRUE(SavingRule::IsFor("photo.jpg"));
  EXPECT_TRUE(SavingRule::IsFor("foo.tar.xz"));
  EXPECT_FALSE(SavingRule::IsFor("foo.tar.xz.xzhot"));
}

class DiskUseTest : public testing::Test {
 protected:
  DiskUse Measure(const std::function<void(int fd)>& fill, blkcnt_t wrong_blocks = -1) {
    const UniqueFd fd(open((dir_ / "file").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    fill(fd.get());
    struct stat st = {};
    EXPECT_EQ(fstat(fd.get(), &st), 0);
    st.st_blksize = kBlock;
    if (wrong_blocks >= 0) {
      st.st_blocks = wrong_blocks;
    }
    return DiskUse::Of(Os::Real(), fd.get(), st);
  }

  TempDir dir_;
};

TEST_F(DiskUseTest, HolesAreNotCounted) {
  const DiskUse use = Measure([](int fd) {
    const std::string data(2 * kBlock, 'x');
    EXPECT_EQ(ftruncate(fd, 100 * kMiB), 0);
    EXPECT_EQ(pwrite(fd, data.data(), data.size(), 50 * kMiB), static_cast<ssize_t>(data.size()));
  });
  EXPECT_GE(use.bytes, 2 * kBlock);
  EXPECT_LE(use.bytes, kMiB);
}

TEST_F(DiskUseTest, WhatIsAllocatedBehindTheEndIsNotCounted) {
  const DiskUse use = Measure([](int fd) { EXPECT_EQ(pwrite(fd, "x", 1, 0), 1); }, 8000);
  EXPECT_EQ(use.bytes, kBlock);
}

TEST_F(DiskUseTest, DataCountAlsoWhereTheFileSystemCountsItsBlocksLater) {
  const DiskUse use = Measure(
      [](int fd) {
        const std::string data(kMiB, 'x');
        EXPECT_EQ(pwrite(fd, data.data(), data.size(), 0), static_cast<ssize_t>(data.size()));
      },
      1);
  EXPECT_EQ(use.bytes, kMiB);
}

TEST(LooksWorthItTest, ASmallFileIsNotRead) {
  Pool pool;
  const MemFile file(Noise(kSampledBytes));
  EXPECT_TRUE(pool.Looks(file, file.size()));
  EXPECT_TRUE(file.accesses().empty());
}

TEST(LooksWorthItTest, OfALargeFileOnlySamplesAreRead) {
  Pool pool;
  const MemFile noise(Noise(20 * kMiB));
  EXPECT_FALSE(pool.Looks(noise, noise.size()));
  uint64_t read = 0;
  for (const MemFile::Access& access : noise.accesses()) {
    read += access.size;
  }
  EXPECT_LE(read, kMiB / 2);
  EXPECT_EQ(noise.accesses().back().end(), noise.size());
}

TEST(LooksWorthItTest, OneSampleIsEnoughIfItSavesEnoughForAll) {
  Pool pool;
  const MemFile text(std::string(20 * kMiB, 'x'));
  EXPECT_TRUE(pool.Looks(text, text.size()));
  EXPECT_EQ(text.accesses().size(), 1U);
  // Its last quarter would shrink.
  const MemFile mixed(Noise(15 * kMiB) + std::string(5 * kMiB, 'x'));
  EXPECT_TRUE(pool.Looks(mixed, mixed.size()));
  // It saves less than the rule wants, as most of it is holes.
  EXPECT_FALSE(pool.Looks(mixed, kMiB));
}

TEST(LooksWorthItTest, ItEndsWhenTheCommitIsCancelled) {
  Pool pool;
  const MemFile file(Noise(20 * kMiB));
  const std::atomic<bool> cancelled = true;
  const auto looks =
      LooksWorthIt(SavingRule(), Use(file.size()), file, pool.pool, pool.options, &cancelled);
  ASSERT_FALSE(looks);
  EXPECT_EQ(looks.error().code, ECANCELED);
}

}  // namespace
}  // namespace xzfs
