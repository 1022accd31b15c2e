// OPENDIR, READDIR, READDIRPLUS, RELEASEDIR.
#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

// Room for any one line, of READDIR and of READDIRPLUS.
constexpr uint32_t kOneLine = 280;
constexpr uint32_t kOneLinePlus = 128 + kOneLine;

std::vector<std::string> NamesOf(const std::vector<FakeKernel::DirLine>& lines) {
  std::vector<std::string> names;
  for (const auto& line : lines) {
    names.push_back(line.name);
  }
  return names;
}

// Does the source itself go on at the right place when entries before it have gone? Some file
// systems (tmpfs before Linux 6.6) count entries, and we can't do better than the source.
bool SourceHasStableOffsets(const std::filesystem::path& scratch) {
  std::filesystem::create_directory(scratch);
  for (int i = 0; i < 50; ++i) {
    std::filesystem::create_directory(scratch / std::to_string(i));
  }
  constexpr size_t kMiddle = 26;
  DIR* dir = opendir(scratch.c_str());
  std::vector<std::string> names;
  long middle = 0;
  while (const dirent* entry = readdir(dir)) {
    names.emplace_back(entry->d_name);
    middle = names.size() == kMiddle ? telldir(dir) : middle;
  }
  for (size_t i = 0; i < kMiddle; ++i) {
    if (names[i] != "." && names[i] != "..") {
      std::filesystem::remove(scratch / names[i]);
    }
  }
  rewinddir(dir);
  seekdir(dir, middle);
  const dirent* next = readdir(dir);
  const bool stable = next != nullptr && names.at(kMiddle) == next->d_name;
  closedir(dir);
  std::filesystem::remove_all(scratch);
  return stable;
}

class DirectoryTest : public ProtocolTest, public testing::WithParamInterface<bool> {
 protected:
  bool plus() const { return GetParam(); }
  uint32_t one_line() const { return plus() ? kOneLinePlus : kOneLine; }
  std::vector<FakeKernel::DirLine> List(uint64_t offset, uint32_t size) {
    return ListFrom(FUSE_ROOT_ID, offset, size, plus());
  }
  Result<std::vector<FakeKernel::DirLine>> ListOnce(uint64_t node, uint64_t offset, uint32_t size) {
    return plus() ? kernel().ReadDirPlus(node, offset, size) : kernel().ReadDir(node, offset, size);
  }
};

INSTANTIATE_TEST_SUITE_P(, DirectoryTest, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "ReadDirPlus" : "ReadDir"; });

TEST_P(DirectoryTest, EveryLineHasItsLogicalNameTypeAndInode) {
  WriteCompressed("compressed", "text");
  source().Write("plain", "text");
  source().Write("fake.xz", "not compressed");
  std::filesystem::create_directory(source().path() / "dir.xz");
  std::filesystem::create_symlink("compressed.xz", source().path() / "link.xz");
  ASSERT_EQ(mkfifo((source().path() / "fifo").c_str(), 0600), 0);
  Serve();
  const std::map<std::string, std::pair<std::string, uint32_t>> expected = {
      {".", {".", DT_DIR}},
      {"..", {"..", DT_DIR}},
      {"compressed", {"compressed.xz", DT_REG}},
      {"plain", {"plain", DT_REG}},
      {"fake.xz", {"fake.xz", DT_REG}},
      {"dir.xz", {"dir.xz", DT_DIR}},
      {"link", {"link.xz", DT_LNK}},
      {"fifo", {"fifo", DT_FIFO}}};
  const auto lines = List(0, 4096);
  EXPECT_EQ(lines.size(), expected.size());
  for (const auto& line : lines) {
    const auto it = expected.find(line.name);
    ASSERT_NE(it, expected.end()) << line.name;
    EXPECT_EQ(line.type, it->second.second) << line.name;
    if (line.name != "..") {
      EXPECT_EQ(line.inode, StatStored(it->second.first).st_ino) << line.name;
    }
  }
}

TEST_P(DirectoryTest, OurOwnFolderIsNotListedAtTheRoot) {
  std::filesystem::create_directories(source().path() / ".xzfs");
  std::filesystem::create_directories(source().path() / "d/.xzfs");
  Serve();
  auto names = NamesOf(List(0, 4096));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, std::vector<std::string>({".", "..", "d"}));
  const auto below = NamesOf(ListFrom(NodeOf("d"), 0, 4096, plus()));
  EXPECT_EQ(std::count(below.begin(), below.end(), ".xzfs"), 1);
}

TEST_P(DirectoryTest, NoCompressedFileTakesTheNameOfOurFolder) {
  WriteCompressed(".xzfs", "text");
  Serve();
  const auto names = NamesOf(List(0, 4096));
  EXPECT_EQ(std::count(names.begin(), names.end(), ".xzfs"), 0);
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, ".xzfs")), ENOENT);
}

TEST_P(DirectoryTest, EveryOffsetLeadsToExactlyTheRest) {
  for (int i = 0; i < 60; ++i) {
    WriteCompressed("compressed" + std::to_string(i), "text");
    source().Write("plain" + std::to_string(i) + std::string(static_cast<size_t>(i), '-'), "text");
  }
  Serve();
  const auto lines = List(0, 4096);
  ASSERT_EQ(lines.size(), 122U);
  const auto names = NamesOf(lines);
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto rest = NamesOf(List(lines[i].next_offset, 1000));
    ASSERT_TRUE(
        std::equal(rest.begin(), rest.end(), names.begin() + static_cast<long>(i) + 1, names.end()))
        << "after line " << i << ", " << rest.size() << " lines";
  }
}

TEST_P(DirectoryTest, OffsetsStayRightWhileEntriesComeAndGo) {
  if (!SourceHasStableOffsets(source().path() / "scratch")) {
    GTEST_SKIP() << "the source's file system counts entries";
  }
  for (int i = 0; i < 100; ++i) {
    WriteCompressed("stays" + std::to_string(i), "text");
    WriteCompressed("goes" + std::to_string(i), "text");
  }
  Serve();
  for (const size_t split : {1U, 2U, 50U, 100U, 150U, 190U}) {
    const auto before = List(0, 4096);
    ASSERT_GT(before.size(), split);
    std::multiset<std::string> seen;
    for (size_t i = 0; i < split; ++i) {
      seen.insert(before[i].name);
    }
    for (int i = 0; i < 100; ++i) {
      std::filesystem::remove(source().path() / ("goes" + std::to_string(i) + ".xz"));
      WriteCompressed("comes" + std::to_string(split) + "." + std::to_string(i), "text");
    }
    for (const auto& line : List(before[split - 1].next_offset, 4096)) {
      seen.insert(line.name);
    }
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(seen.count("stays" + std::to_string(i)), 1U) << i << ", split " << split;
      std::filesystem::remove(source().path() /
                              ("comes" + std::to_string(split) + "." + std::to_string(i) + ".xz"));
      WriteCompressed("goes" + std::to_string(i), "text");
    }
  }
}

TEST_P(DirectoryTest, AReplyThatHoldsOneLineGivesThemOneByOne) {
  const std::string longest(252, 'n');
  WriteCompressed(longest, "text");
  WriteCompressed("a", "text");
  source().Write("b", "text");
  Serve();
  auto small = NamesOf(List(0, one_line()));
  EXPECT_EQ(small, NamesOf(List(0, 65536)));
  EXPECT_EQ(std::count(small.begin(), small.end(), longest), 1);
}

TEST_P(DirectoryTest, EverySizeOfReplyGivesTheSameLines) {
  for (int i = 0; i < 30; ++i) {
    WriteCompressed(std::string(static_cast<size_t>(i) * 8 + 1, 'n'), "text");
  }
  Serve();
  const auto all = NamesOf(List(0, 1 << 20));
  ASSERT_EQ(all.size(), 32U);
  for (uint32_t size = one_line(); size < 2 * one_line(); size += 37) {
    EXPECT_EQ(NamesOf(List(0, size)), all) << size;
  }
}

TEST_P(DirectoryTest, AReplyTooSmallForALineIsEmpty) {
  WriteCompressed("a", "text");
  ServeOneByOne();
  for (const uint32_t size : {0U, 1U, 23U}) {
    const auto lines = ListOnce(FUSE_ROOT_ID, 0, size);
    ASSERT_TRUE(lines) << size;
    EXPECT_TRUE(lines->empty());
  }
  EXPECT_EQ(mount().tree.nodes().size(), 1U);
}

TEST_P(DirectoryTest, OffsetsThatWereNeverGivenAreErrorsOrLinesButHarmless) {
  WriteCompressed("a", "text");
  Serve();
  EXPECT_EQ(ErrorOf(ListOnce(FUSE_ROOT_ID, uint64_t{1} << 63, 4096)), EINVAL);
  EXPECT_EQ(ErrorOf(ListOnce(FUSE_ROOT_ID, std::numeric_limits<uint64_t>::max(), 4096)), EINVAL);
  for (uint64_t offset = 3; offset < uint64_t{1} << 62; offset *= 3) {
    static_cast<void>(ListOnce(FUSE_ROOT_ID, offset, 4096));
  }
  EXPECT_EQ(List(0, 4096).size(), 3U);
}

TEST_P(DirectoryTest, AFileIsENOTDIR) {
  WriteCompressed("compressed", "text");
  source().Write("plain", "text");
  Serve();
  EXPECT_EQ(ErrorOf(ListOnce(NodeOf("compressed"), 0, 4096)), ENOTDIR);
  EXPECT_EQ(ErrorOf(ListOnce(NodeOf("plain"), 0, 4096)), ENOTDIR);
}

TEST_P(DirectoryTest, ARemovedDirectoryIsEmptyOrESTALE) {
  std::filesystem::create_directory(source().path() / "d");
  Serve();
  const uint64_t known = NodeOf("d");
  EXPECT_EQ(ListFrom(known, 0, 4096, plus()).size(), 2U);
  std::filesystem::remove(source().path() / "d");
  const auto lines = ListOnce(known, 0, 4096);
  EXPECT_TRUE(lines ? lines->empty() : lines.error().code == ESTALE);
}

TEST_P(DirectoryTest, ALargeDirectoryIsListedWholeOnce) {
  constexpr size_t kFiles = 3000;
  for (size_t i = 0; i < kFiles; ++i) {
    source().Write("a rather long name of a file, number " + std::to_string(i), "");
  }
  Serve();
  const auto names = NamesOf(List(0, 4096));
  EXPECT_EQ(names.size(), kFiles + 2);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), kFiles + 2);
}

TEST_P(DirectoryTest, ADamagedFileIsListed) {
  std::string bytes = MakeXz(SomeText(50000), 4096);
  bytes.resize(bytes.size() - 8);
  source().Write("a.xz", bytes);
  WriteCompressed("b", "text");
  Serve();
  const auto lines = List(0, 4096);
  ASSERT_EQ(lines.size(), 4U);
  for (const auto& line : lines) {
    if (line.name == "a" && plus()) {
      EXPECT_EQ(line.entry->attr.size, bytes.size());
    }
  }
}

using OpenDirTest = ProtocolTest;

TEST_F(OpenDirTest, ListingsAreNotCachedInTheKernelForEver) {
  Serve();
  const auto opened = kernel().OpenDir(FUSE_ROOT_ID);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->open_flags & (FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE), 0U);
  EXPECT_TRUE(kernel().ReleaseDir(FUSE_ROOT_ID, opened->fh));
}

TEST_F(OpenDirTest, ReadDirPlusHasTheAttributesOfLookup) {
  WriteCompressed("compressed", SomeText(12345));
  source().Write("plain", "text");
  Serve();
  int compared = 0;
  for (const auto& line : ListFrom(FUSE_ROOT_ID, 0, 4096, /*plus=*/true)) {
    if (line.name == "." || line.name == "..") {
      continue;
    }
    const auto entry = kernel().Lookup(FUSE_ROOT_ID, line.name);
    ASSERT_TRUE(entry);
    EXPECT_EQ(std::memcmp(&*entry, &*line.entry, sizeof *entry), 0) << line.name;
    ++compared;
  }
  EXPECT_EQ(compared, 2);
}

}  // namespace
}  // namespace xzfs
