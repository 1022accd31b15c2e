// What an operation costs in system calls and descriptors.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "protocol/counting_os.h"
#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

class CostTest : public ProtocolTest {
 protected:
  void ServeCounted() {
    Serve({.single_threaded = true, .os = &os_});
    os_.Take();
  }
  void ForgetNode(uint64_t node) {
    kernel().Forget(node, 1);
    EXPECT_TRUE(kernel().GetAttr(FUSE_ROOT_ID));  // a fence: see ServeCounted
    EXPECT_EQ(mount().tree.nodes().size(), 1U);
    os_.Take();
  }
  // The first LOOKUP of "a", which takes `preads` reads, and the next one after it was forgotten.
  void ExpectCheapLookups(uint64_t plain_size, int preads) {
    const auto first = kernel().Lookup(FUSE_ROOT_ID, "a");
    const CountingOs::Counts compressed = os_.Take();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->attr.size, plain_size);
    EXPECT_EQ(compressed.stats_missing, 1) << "is a plain file in its way?";
    EXPECT_EQ(compressed.stats_found, 1) << "only regular files are opened";
    EXPECT_EQ(compressed.opens, 1);
    EXPECT_EQ(compressed.preads, preads);
    EXPECT_EQ(compressed.fstats, 1) << "is it still the version that was stated?";
    EXPECT_EQ(compressed.closes, 1);
    EXPECT_EQ(compressed.others, 0);
    ForgetNode(first->nodeid);

    const auto second = kernel().Lookup(FUSE_ROOT_ID, "a");
    const CountingOs::Counts warm = os_.Take();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->attr.size, plain_size);
    EXPECT_EQ(warm.stats_missing, 1);
    EXPECT_EQ(warm.stats_found, 1);
    EXPECT_EQ(warm.all(), 2) << "a version that is known is not looked into";
  }

  CountingOs os_;
};

TEST_F(CostTest, LookupOfASmallCompressedFileReadsItOnce) {
  // The Index is not in the first 4 KiB.
  WriteCompressed("a", SomeNoise(14000), 4096);
  ASSERT_GT(StatStored("a.xz").st_size, 12000);
  ASSERT_LE(StatStored("a.xz").st_size, static_cast<off_t>(SmallFiles::kLargestFileBytes));
  ServeCounted();
  ExpectCheapLookups(14000, 1);
}

TEST_F(CostTest, LookupOfACompressedFileWhoseIndexIsInTheTailReadsTwice) {
  WriteCompressed("a", SomeNoise(1000000), 65536);
  ServeCounted();
  ExpectCheapLookups(1000000, 2);
}

TEST_F(CostTest, LookupOfACompressedFileWithALargeIndexReadsThreeTimes) {
  // 5,000 Blocks make an Index of more than the tail's 4 KiB.
  WriteCompressed("a", SomeText(500000), 100);
  ServeCounted();
  ExpectCheapLookups(500000, 3);
}

TEST_F(CostTest, LookupOfAnXzNameThatIsNotCompressedLooksIntoItOnce) {
  source().Write("a.xz", "just text");
  ServeCounted();
  const uint64_t node = NodeOf("a.xz");
  EXPECT_EQ(os_.Take().opens, 1);
  ForgetNode(node);
  NodeOf("a.xz");
  const CountingOs::Counts counts = os_.Take();
  EXPECT_EQ(counts.stats_found, 1);
  EXPECT_EQ(counts.all(), counts.stats_found + counts.stats_missing);
}

TEST_F(CostTest, ASmallCompressedFileIsLookedUpOpenedReadAndClosedWithOneOpenAndOneRead) {
  const std::string text = SomeNoise(9000);
  WriteCompressed("a", text, 4096);
  ServeCounted();
  const uint64_t node = NodeOf("a");
  const uint64_t handle = OpenNode(node);
  EXPECT_TRUE(kernel().Read(node, handle, 0, 65536).value_or("?") == text);
  EXPECT_EQ(ErrorOf(kernel().Release(node, handle)), 0);
  const CountingOs::Counts counts = os_.Take();
  EXPECT_EQ(counts.opens, 1);
  EXPECT_EQ(counts.preads, 1);
  EXPECT_EQ(counts.fstats, 1);
  EXPECT_EQ(counts.closes, 1);
  EXPECT_EQ(counts.stats_found, 2) << "of the lookup and of the open";
  EXPECT_EQ(counts.stats_missing, 1);
  EXPECT_EQ(counts.others, 0);
  EXPECT_EQ(mount().engine.small_files.kept_bytes(), 0U) << "they were used";
}

TEST_F(CostTest, ASmallCompressedFileWhoseBytesWereDroppedCostsOneMoreOpenAndRead) {
  const std::string text = SomeNoise(9000);
  WriteCompressed("a", text, 4096);
  // More than is kept: a sixteenth of the session's 64 MiB.
  for (int i = 0; i < 400; ++i) {
    WriteCompressed("other" + std::to_string(i), SomeNoise(12000), 12000);
  }
  ServeCounted();
  const uint64_t node = NodeOf("a");
  for (int i = 0; i < 400; ++i) {
    NodeOf("other" + std::to_string(i));
  }
  os_.Take();
  const uint64_t handle = OpenNode(node);
  EXPECT_TRUE(kernel().Read(node, handle, 0, 65536).value_or("?") == text);
  EXPECT_EQ(ErrorOf(kernel().Release(node, handle)), 0);
  const CountingOs::Counts counts = os_.Take();
  EXPECT_EQ(counts.opens, 1);
  EXPECT_EQ(counts.preads, 1);
  EXPECT_EQ(counts.closes, 1);
}

// Looking is done by two threads; the sum is the same.
TEST_F(CostTest, AListingWithAttributesOpensEachCompressedFileOnceAndTheNextOneNone) {
  constexpr int kFiles = 300;
  for (int i = 0; i < kFiles; ++i) {
    WriteCompressed("file" + std::to_string(i), SomeText(static_cast<size_t>(i)));
  }
  ServeCounted();
  EXPECT_EQ(ListFrom(FUSE_ROOT_ID, 0, 1 << 20, /*plus=*/true).size(), kFiles + 2U);
  const CountingOs::Counts compressed = os_.Take();
  EXPECT_EQ(compressed.opens, kFiles);
  EXPECT_EQ(compressed.preads, kFiles);
  EXPECT_EQ(compressed.fstats, kFiles);
  EXPECT_EQ(compressed.stats_found, kFiles);
  EXPECT_EQ(compressed.stats_missing, kFiles);

  EXPECT_EQ(ListFrom(FUSE_ROOT_ID, 0, 1 << 20, /*plus=*/true).size(), kFiles + 2U);
  const CountingOs::Counts warm = os_.Take();
  EXPECT_EQ(warm.stats_found, kFiles);
  EXPECT_EQ(warm.stats_missing, kFiles);
  EXPECT_EQ(warm.all(), 2 * kFiles + warm.others) << "stats, seek and getdents";
}

// The kernel takes what fits in its buffer; looking at more would be for nothing.
TEST_F(CostTest, AListingInSmallRepliesLooksAtHardlyMoreThanItReturns) {
  constexpr int kFiles = 300;
  for (int i = 0; i < kFiles; ++i) {
    WriteCompressed(std::string(static_cast<size_t>(i % 200), 'n') + std::to_string(i), "text");
  }
  ServeCounted();
  EXPECT_EQ(ListFrom(FUSE_ROOT_ID, 0, 4096, /*plus=*/true).size(), kFiles + 2U);
  const CountingOs::Counts counts = os_.Take();
  EXPECT_EQ(counts.opens, kFiles);
  EXPECT_LT(counts.stats_found, kFiles * 5 / 4);
}

TEST_F(CostTest, LookupOfAPlainFileIsOneStat) {
  source().Write("a", "hello");
  ServeCounted();
  ASSERT_TRUE(kernel().Lookup(FUSE_ROOT_ID, "a"));
  const CountingOs::Counts counts = os_.Take();
  EXPECT_EQ(counts.stats_found, 1);
  EXPECT_EQ(counts.all(), 1);
}

TEST_F(CostTest, GetAttrOfACompressedFileIsOneStat) {
  WriteCompressed("a", SomeText(100000));
  ServeCounted();
  const uint64_t node = NodeOf("a");
  os_.Take();
  ASSERT_TRUE(kernel().GetAttr(node));
  const CountingOs::Counts counts = os_.Take();
  EXPECT_EQ(counts.stats_found, 1);
  EXPECT_EQ(counts.all(), 1);
}

TEST_F(CostTest, AReadThatIsCachedReadsNothing) {
  WriteCompressed("a", SomeText(100000), 100000);
  ServeCounted();
  const uint64_t node = NodeOf("a");
  const uint64_t handle = OpenNode(node);
  ASSERT_TRUE(kernel().Read(node, handle, 0, 4096));
  os_.Take();
  ASSERT_TRUE(kernel().Read(node, handle, 50000, 4096));
  EXPECT_EQ(os_.Take().preads, 0);
}

TEST_F(CostTest, ReadDirOfPlainNamesLooksAtNoFile) {
  for (int i = 0; i < 50; ++i) {
    source().Write("file" + std::to_string(i), "text");
  }
  ServeCounted();
  EXPECT_EQ(ListFrom(FUSE_ROOT_ID, 0, 65536).size(), 52U);
  const CountingOs::Counts counts = os_.Take();
  EXPECT_EQ(counts.all(), counts.others) << "seek and getdents alone";
}

// Lowers the limit on descriptors while it lives.
class LowDescriptorLimit {
 public:
  explicit LowDescriptorLimit(rlim_t most) {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const struct rlimit low = {most, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  }
  ~LowDescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }
  LowDescriptorLimit(const LowDescriptorLimit&) = delete;
  LowDescriptorLimit& operator=(const LowDescriptorLimit&) = delete;

 private:
  struct rlimit before_ = {};
};

TEST_F(CostTest, ThreeThousandOpenFilesReadRightWithFewDescriptors) {
  constexpr uint32_t kFiles = 3000;
  constexpr size_t kLimit = 256;
  struct Held {
    std::string text;
    uint64_t node;
    uint64_t handle;
  };
  std::vector<Held> files;
  for (int d = 0; d < 10; ++d) {
    std::filesystem::create_directory(source().path() / ("d" + std::to_string(d)));
  }
  for (uint32_t i = 0; i < kFiles; ++i) {
    const std::string name = "d" + std::to_string(i % 10) + "/" + std::to_string(i);
    files.push_back({SomeText(i % 3000 + 10, i), 0, 0});
    i % 3 == 0 ? source().Write(name, files.back().text) : WriteCompressed(name, files.back().text);
  }
  const LowDescriptorLimit limit(kLimit);
  Serve();
  std::vector<uint64_t> dirs;
  for (int d = 0; d < 10; ++d) {
    dirs.push_back(NodeOf("d" + std::to_string(d)));
  }
  for (uint32_t i = 0; i < kFiles; ++i) {
    files[i].node = NodeOf(std::to_string(i), dirs[i % 10]);
    files[i].handle = OpenNode(files[i].node);
    ASSERT_NE(files[i].handle, 0U) << i;
  }
  EXPECT_EQ(mount().tree.nodes().size(), 1 + dirs.size() + kFiles);
  EXPECT_LE(mount().open_descriptors(), mount().descriptor_limit());
  EXPECT_LT(OpenDescriptors(), kLimit);

  std::shuffle(files.begin(), files.end(), std::mt19937(5));
  for (size_t begin = 0; begin < files.size(); begin += 50) {
    std::vector<uint64_t> reads;
    for (size_t i = begin; i < begin + 50; ++i) {
      reads.push_back(kernel().SendRead(files[i].node, files[i].handle, 5, 4096));
    }
    for (size_t i = begin; i < begin + 50; ++i) {
      const FakeKernel::Reply reply = kernel().Await(reads[i - begin]);
      ASSERT_EQ(reply.error, 0);
      ASSERT_TRUE(reply.body == files[i].text.substr(5));
    }
  }
  EXPECT_LT(OpenDescriptors(), kLimit);
}

}  // namespace
}  // namespace xzfs
