#include "cache/restart_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cache/region_file.h"
#include "support/mem_file.h"
#include "support/temp_dir.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;

std::vector<std::byte> Bytes(size_t size, int value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

TEST(RegionFileTest, HasNoNameAndNoOtherUserMayOpenIt) {
  const TempDir dir;
  const UniqueFd file = RegionFile::OpenIn(dir.path());
  ASSERT_TRUE(file.valid());
  struct stat st = {};
  ASSERT_EQ(fstat(file.get(), &st), 0);
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_FALSE(RegionFile::OpenIn(dir / "nowhere").valid());
}

TEST(RegionFileTest, ReturnsTheStoredBytesWithinItsLimitAndReusesFreedRoom) {
  const TempDir dir;
  UniqueFd fd = RegionFile::OpenIn(dir.path());
  const int raw = fd.get();
  RegionFile file(std::move(fd), 64 * 4096);
  std::mt19937 random(1);
  std::vector<std::pair<RegionFile::Region, std::vector<std::byte>>> kept;
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    if (random() % 2 == 0 || kept.empty()) {
      auto bytes = Bytes(1 + random() % 40000, i);
      if (const auto region = file.Write(bytes)) {
        kept.emplace_back(*region, std::move(bytes));
      } else {
        ++refused;
      }
    } else {
      std::swap(kept[random() % kept.size()], kept.back());
      std::vector<std::byte> out(kept.back().second.size());
      ASSERT_TRUE(file.Read(kept.back().first, out));
      ASSERT_TRUE(out == kept.back().second);
      file.Free(kept.back().first);
      kept.pop_back();
    }
    struct stat st = {};
    ASSERT_EQ(fstat(raw, &st), 0);
    ASSERT_LE(st.st_size, 64 * 4096);
  }
  EXPECT_GT(refused, 10);
  for (const auto& [region, bytes] : kept) {
    file.Free(region);
  }
  struct stat st = {};
  ASSERT_EQ(fstat(raw, &st), 0);
  EXPECT_EQ(st.st_size, 0);
  EXPECT_TRUE(file.Write(Bytes(64 * 4096, 1))) << "all of it is one piece again";
}

TEST(RegionFileTest, AFullDiskIsNoRoom) {
  RegionFile file(UniqueFd(open("/dev/full", O_RDWR | O_CLOEXEC)), kMiB);
  EXPECT_FALSE(file.Write(Bytes(5000, 1)));
  EXPECT_FALSE(file.Write(Bytes(5000, 1)));
}

TEST(RegionFileTest, WithoutAFileThereIsNoRoom) {
  RegionFile file(UniqueFd(), kMiB);
  EXPECT_EQ(file.limit_bytes(), 0u);
  EXPECT_FALSE(file.Write(Bytes(1, 1)));
}

// Points of a decoder with a dictionary of 1 MiB. 16 MiB of budget: two fit into memory.
class RestartStoreTest : public testing::Test {
 protected:
  RestartStoreTest() {
    XzBuilder builder;
    builder.AddStream(plain_, plain_.size(), kCheckCrc64, {.filters = "lzma2:preset=0,dict=1MiB"});
    file_ = std::make_unique<MemFile>(builder.bytes());
    const BlockIndex index = BlockIndex::Read(*file_, Format::kXz, {}).value();
    decoder_ = BlockDecoder::Open(*file_, index, index.Block(0), 64 * kMiB).value();
  }

  void Advance() {
    std::string out(kMiB, 0);
    const uint64_t at = decoder_->position();
    ASSERT_TRUE(decoder_->Decode(*file_, std::as_writable_bytes(std::span(out))));
    ASSERT_TRUE(out == plain_.substr(at, kMiB));
  }

  const std::string plain_ = SomeText(12 * kMiB);
  std::unique_ptr<MemFile> file_;
  std::unique_ptr<BlockDecoder> decoder_;
  MemoryBudget budget_{16 * kMiB};
};

TEST_F(RestartStoreTest, TakesMemoryFirstThenTheFileAndGivesBothBack) {
  const TempDir dir;
  UniqueFd fd = RegionFile::OpenIn(dir.path());
  const int raw = fd.get();
  RestartStore store(budget_, std::move(fd), 6 * decoder_->most_history_bytes() + 6 * 4096);
  std::vector<std::pair<uint64_t, RestartPointPtr>> points;
  for (int i = 0; i < 10; ++i) {
    Advance();
    if (auto point = store.Save(*decoder_, RestartStore::Place::kAnywhere)) {
      points.emplace_back(decoder_->position(), std::move(point));
    }
  }
  EXPECT_EQ(points.size(), 2u + 6u);
  EXPECT_EQ(budget_.used(), store.memory_bytes());
  EXPECT_LE(store.memory_bytes(), 4 * kMiB);
  EXPECT_GT(store.memory_bytes(), 2 * kMiB);
  std::reverse(points.begin(), points.end());
  for (const auto& [position, point] : points) {
    ASSERT_TRUE(store.Restore(*point, *decoder_));
    ASSERT_EQ(decoder_->position(), position);
    Advance();
  }
  points.clear();
  EXPECT_EQ(budget_.used(), 0u);
  EXPECT_EQ(store.memory_bytes(), 0u);
  struct stat st = {};
  ASSERT_EQ(fstat(raw, &st), 0);
  EXPECT_EQ(st.st_size, 0);
}

TEST_F(RestartStoreTest, PointsForMemoryOnlyDoNotGoToTheFile) {
  const TempDir dir;
  RestartStore store(budget_, RegionFile::OpenIn(dir.path()), 64 * kMiB);
  Advance();
  std::vector<RestartPointPtr> points;
  for (int i = 0; i < 5; ++i) {
    points.push_back(store.Save(*decoder_, RestartStore::Place::kMemory));
  }
  EXPECT_EQ(std::count(points.begin(), points.end(), nullptr), 3);
  EXPECT_NE(store.Save(*decoder_, RestartStore::Place::kAnywhere), nullptr);
}

TEST_F(RestartStoreTest, AFileThatCannotBeReadSaysSo) {
  const TempDir dir;
  UniqueFd fd = RegionFile::OpenIn(dir.path());
  const int raw = fd.get();
  RestartStore store(budget_, std::move(fd), 64 * kMiB);
  Advance();
  std::vector<RestartPointPtr> points;
  for (int i = 0; i < 3; ++i) {
    points.push_back(store.Save(*decoder_, RestartStore::Place::kAnywhere));
    ASSERT_NE(points.back(), nullptr);
  }
  ASSERT_EQ(ftruncate(raw, 100), 0);
  EXPECT_FALSE(store.Restore(*points.back(), *decoder_));
  EXPECT_TRUE(store.Restore(*points.front(), *decoder_));
  Advance();
}

}  // namespace
}  // namespace xzfs
