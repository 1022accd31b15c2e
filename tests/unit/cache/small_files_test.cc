#include "cache/small_files.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "cache_test_util.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;

std::vector<std::byte> BytesOf(size_t size, unsigned char value) {
  return std::vector<std::byte>(size, std::byte{value});
}

class SmallFilesTest : public testing::Test {
 protected:
  MemoryBudget budget_{32 * kMiB};
  SmallFiles files_{budget_};
};

TEST_F(SmallFilesTest, GivesOnlyTheBytesOfThatVersion) {
  Identity identity = NewIdentity();
  files_.Add(identity, BytesOf(100, 1));
  ASSERT_NE(files_.Find(identity), nullptr);
  EXPECT_EQ(*files_.Find(identity), BytesOf(100, 1));
  ++identity.ctime_ns;
  EXPECT_EQ(files_.Find(identity), nullptr);
}

TEST_F(SmallFilesTest, KeepsTheNewestFilesInASixteenthOfTheBudget) {
  std::vector<Identity> added;
  for (int i = 0; i < 10000; ++i) {
    added.push_back(NewIdentity());
    files_.Add(added.back(), BytesOf(1000, 1));
    ASSERT_LE(files_.kept_bytes(), budget_.total() / 16);
    ASSERT_EQ(budget_.used(), files_.kept_bytes()) << "all of it is charged";
  }
  EXPECT_GT(files_.kept_bytes(), budget_.total() / 16 - 2000);
  EXPECT_EQ(files_.Find(added.front()), nullptr);
  EXPECT_NE(files_.Find(added.back()), nullptr);
}

TEST_F(SmallFilesTest, AMountWithMuchMemoryKeepsNoMoreThanADirectoryNeeds) {
  MemoryBudget large(size_t{4} << 30);
  EXPECT_EQ(SmallFiles(large).capacity_bytes(), SmallFiles::kMostBytes);
}

TEST_F(SmallFilesTest, ADroppedFileIsNotChargedAndStaysReadableForItsHolders) {
  const Identity identity = NewIdentity();
  const SmallFiles::Bytes held = files_.Add(identity, BytesOf(100, 3));
  files_.Drop(identity);
  files_.Drop(identity);
  EXPECT_EQ(files_.Find(identity), nullptr);
  EXPECT_EQ(files_.kept_bytes(), 0U);
  EXPECT_EQ(budget_.used(), 0U);
  EXPECT_EQ(*held, BytesOf(100, 3));
}

// A file that is read again after it was dropped takes one place, and drops no other file.
TEST_F(SmallFilesTest, ReadingDroppedFilesAgainDoesNotDropTheOthers) {
  std::vector<Identity> added;
  for (int i = 0; i < 5000; ++i) {
    added.push_back(NewIdentity());
    files_.Add(added.back(), BytesOf(1000, 1));
  }
  size_t from_memory = 0;
  for (const Identity& identity : added) {
    from_memory += files_.Find(identity) != nullptr ? 1 : 0;
    files_.Add(identity, BytesOf(1000, 1));
    files_.Drop(identity);
  }
  EXPECT_GT(from_memory, files_.capacity_bytes() / 1300);
}

TEST_F(SmallFilesTest, AddingTwiceKeepsTheFirst) {
  const Identity identity = NewIdentity();
  const SmallFiles::Bytes first = files_.Add(identity, BytesOf(100, 3));
  const size_t kept = files_.kept_bytes();
  EXPECT_EQ(files_.Add(identity, BytesOf(100, 3)), first);
  EXPECT_EQ(files_.kept_bytes(), kept);
  EXPECT_EQ(budget_.used(), kept);
}

TEST_F(SmallFilesTest, ThreadsAddFindAndDrop) {
  std::vector<Identity> identities;
  for (int i = 0; i < 64; ++i) {
    identities.push_back(NewIdentity());
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < 5000; ++i) {
        const size_t at = (i * 7 + t) % identities.size();
        const auto value = static_cast<unsigned char>(at);
        const auto bytes = files_.Add(identities[at], BytesOf(500, value));
        wrong += *bytes == BytesOf(500, value) ? 0 : 1;
        files_.Drop(identities[(at + 11) % identities.size()]);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(budget_.used(), files_.kept_bytes());
}

}  // namespace
}  // namespace xzfs
