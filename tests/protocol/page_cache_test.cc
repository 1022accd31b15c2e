// What is put into the kernel's page cache unasked.
#include <fcntl.h>

#include <string>
#include <vector>

#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

class PageCacheTest : public ProtocolTest {
 protected:
  // Serves a file of `text` in Blocks of `block_bytes` and opens it.
  void ServeFile(size_t block_bytes, uint32_t flags = O_RDONLY) {
    WriteCompressed("a", text_, block_bytes);
    Serve();
    node_ = NodeOf("a");
    const auto opened = kernel().Open(node_, flags);
    ASSERT_TRUE(opened);
    handle_ = opened->fh;
  }
  void Read(uint64_t offset, uint32_t size) {
    const auto got = kernel().Read(node_, handle_, offset, size);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(*got, text_.substr(offset, size));
  }
  std::vector<FakeKernel::StoredPages> AwaitStored(size_t count) {
    EXPECT_TRUE(Eventually([&] { return kernel().stored_pages().size() >= count; }));
    return kernel().stored_pages();
  }

  std::string text_ = SomeText(1200000);
  uint64_t node_ = 0;
  uint64_t handle_ = 0;
};

TEST_F(PageCacheTest, ARandomReadBringsTheRestOfItsBlock) {
  ServeFile(64 << 10);
  Read(100 << 10, 4096);
  const auto stored = AwaitStored(1);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].node, node_);
  EXPECT_EQ(stored[0].offset, 64U << 10);
  EXPECT_EQ(stored[0].bytes, text_.substr(64 << 10, 64 << 10));
}

TEST_F(PageCacheTest, ABlockThatTheKernelHasWholeIsNotKept) {
  ServeFile(64 << 10);
  Read(100 << 10, 4096);
  AwaitStored(1);
  EXPECT_TRUE(Eventually([&] { return mount().engine.stats.handed_over.Get() == 1; }));
  // The kernel dropped it after all.
  const uint64_t decoded = mount().engine.stats.decoded_bytes.Get();
  Read(110 << 10, 4096);
  EXPECT_EQ(mount().engine.stats.decoded_bytes.Get(), decoded + (64 << 10));
}

TEST_F(PageCacheTest, OnlyWholePagesAreStoredAndTheEndOfTheFile) {
  ServeFile(50000);
  Read(60000, 100);
  Read(1199000, 100);
  const auto stored = AwaitStored(2);
  ASSERT_EQ(stored.size(), 2u);
  EXPECT_EQ(stored[0].offset, 53248U);
  EXPECT_EQ(stored[0].bytes, text_.substr(53248, 98304 - 53248));
  EXPECT_EQ(stored[1].offset, 1150976U);
  EXPECT_EQ(stored[1].bytes, text_.substr(1150976));
}

TEST_F(PageCacheTest, ABlockWithoutAWholePageIsNotStored) {
  ServeFile(4000);
  Read(5000, 100);
  Read(1199000, 100);
  const auto stored = AwaitStored(1);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_GE(stored[0].offset, 1190000U);
}

TEST_F(PageCacheTest, APassFromTheStartIsLeftToTheKernelsReadahead) {
  text_ = SomeText(4000000);
  ServeFile(64 << 10);
  for (uint64_t offset = 0; offset < 256 << 10; offset += 16 << 10) {
    Read(offset, 16 << 10);
  }
  // Too far away to belong to the pass.
  Read(3999000, 100);
  const auto stored = AwaitStored(1);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].offset, 3904U << 10);
}

TEST_F(PageCacheTest, AReadThatTakesTheWholeBlockLeavesNothingToStore) {
  ServeFile(8 << 10);
  Read(64 << 10, 8 << 10);
  Read(200 << 10, 4096);
  const auto stored = AwaitStored(1);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].offset, 200U << 10);
}

TEST_F(PageCacheTest, ReadsPastThePageCacheDoNotFillIt) {
  ServeFile(64 << 10, O_RDONLY | O_DIRECT);
  Read(100 << 10, 4096);
  EXPECT_TRUE(kernel().Release(node_, handle_));
  handle_ = OpenNode(node_);
  Read(200 << 10, 4096);
  const auto stored = AwaitStored(1);
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].offset, 192U << 10);
}

class SmallFilesAheadTest : public ProtocolTest {
 protected:
  static constexpr int kFiles = 12;

  void SetUp() override {
    ProtocolTest::SetUp();
    for (int i = 0; i < kFiles; ++i) {
      WriteCompressed("f" + std::to_string(i), TextOf(i));
    }
    Serve();
    for (const auto& line : ListFrom(FUSE_ROOT_ID, 0, 65536, /*plus=*/true)) {
      if (line.name.starts_with("f")) {
        listed_.push_back({line.entry->nodeid, TextOf(std::stoi(line.name.substr(1)))});
      }
    }
    ASSERT_EQ(listed_.size(), static_cast<size_t>(kFiles));
  }
  static std::string TextOf(int i) { return SomeText(3000 + static_cast<size_t>(i), 1); }
  void OpenListed(size_t i) { OpenNode(listed_[i].node); }

  struct Listed {
    uint64_t node;
    std::string text;
  };
  std::vector<Listed> listed_;
};

TEST_F(SmallFilesAheadTest, FilesOpenedInTheOrderOfTheListingFindTheNextOnesInThePageCache) {
  OpenListed(0);
  OpenListed(1);
  ASSERT_TRUE(Eventually([&] { return kernel().stored_pages().size() >= 2; }));
  const auto stored = kernel().stored_pages();
  ASSERT_EQ(stored.size(), 2u);
  for (size_t i = 0; i < stored.size(); ++i) {
    EXPECT_EQ(stored[i].offset, 0u);
    const bool third = stored[i].node == listed_[2].node;
    ASSERT_EQ(stored[i].node, listed_[third ? 2 : 3].node);
    EXPECT_EQ(stored[i].bytes, listed_[third ? 2 : 3].text);
  }
  EXPECT_TRUE(Eventually([&] { return mount().engine.stats.handed_over.Get() == 2; }));
  EXPECT_EQ(mount().engine.stats.files_ahead.Get(), 2u);
}

TEST_F(SmallFilesAheadTest, AFileThatTheKernelMissedIsReadAllTheSame) {
  OpenListed(0);
  OpenListed(1);
  ASSERT_TRUE(Eventually([&] { return kernel().stored_pages().size() >= 2; }));
  const auto got = kernel().Read(listed_[2].node, OpenNode(listed_[2].node), 0, 4096);
  ASSERT_TRUE(got);
  EXPECT_EQ(*got, listed_[2].text);
}

TEST_F(SmallFilesAheadTest, FilesOpenedInAnotherOrderBringNothing) {
  for (const size_t i : {11U, 5U, 0U, 6U, 1U}) {
    OpenListed(i);
  }
  EXPECT_EQ(mount().engine.stats.files_ahead.Get(), 0u);
  EXPECT_TRUE(kernel().stored_pages().empty());
}

TEST_F(PageCacheTest, AKernelThatIsGoneDoesNotHoldUpTheEnd) {
  ServeFile(64 << 10);
  for (const uint64_t offset : {100U << 10, 200U << 10, 280U << 10}) {
    Read(offset, 4096);
  }
  kernel().Close();
  static_cast<void>(session().Join());  // it ends, with an error or not
}

}  // namespace
}  // namespace xzfs
