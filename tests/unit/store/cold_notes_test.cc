#include "store/cold_notes.h"

#include <gtest/gtest.h>

#include <string>

namespace xzfs {
namespace {

constexpr uint64_t kDevice = 3;
constexpr ColdNotes::Scope kScope = {.device = kDevice, .least_saving = 0.01};

Identity File(uint64_t inode, uint64_t size_bytes, int64_t mtime_ns, uint64_t device = kDevice) {
  return {.device = device, .inode = inode, .size_bytes = size_bytes, .mtime_ns = mtime_ns};
}

struct Notes {
  UnshrinkableFiles files;
  ColdNotes notes{files};
};

TEST(ColdNotesTest, ParsingReturnsWhatWasSerialized) {
  Notes written;
  EXPECT_EQ(written.notes.Serialize(kScope), "");
  written.notes.SetPosition("a/b\n\xFF");
  written.files.Add(File(7, 1000, -5));
  written.files.Add(File(8, 2000, 6));
  EXPECT_TRUE(written.notes.changed());
  Notes read;
  read.notes.Parse(written.notes.Serialize(kScope), kScope);
  EXPECT_FALSE(written.notes.changed());
  EXPECT_EQ(read.notes.position(), "a/b\n\xFF");
  EXPECT_TRUE(read.files.Has(File(7, 1000, -5)));
  EXPECT_TRUE(read.files.Has(File(8, 2000, 6)));
  EXPECT_FALSE(read.notes.changed());
}

TEST(ColdNotesTest, FilesOfOtherFileSystemsAreLeftOut) {
  Notes written;
  written.files.Add(File(7, 1000, 5));
  written.files.Add(File(7, 1000, 5, kDevice + 1));
  Notes read;
  read.notes.Parse(written.notes.Serialize(kScope), {.device = 9, .least_saving = 0.01});
  EXPECT_EQ(read.files.share().files, 1U);
  EXPECT_TRUE(read.files.Has(File(7, 1000, 5, 9)));
}

TEST(ColdNotesTest, FilesCountOnlyIfTheyHadToShrinkByNoMoreThanNow) {
  Notes written;
  written.files.Add(File(7, 1000, 5));
  const std::string bytes = written.notes.Serialize(kScope);
  for (const double least : {0.0, 0.001, 0.009}) {
    Notes read;
    read.notes.Parse(bytes, {.device = kDevice, .least_saving = least});
    EXPECT_EQ(read.files.share().files, 0U) << least;
  }
  for (const double least : {0.01, 0.02, 1.0}) {
    Notes read;
    read.notes.Parse(bytes, {.device = kDevice, .least_saving = least});
    EXPECT_EQ(read.files.share().files, 1U) << least;
  }
}

TEST(ColdNotesTest, TruncatedOrDamagedBytesGiveNoWrongNotes) {
  Notes written;
  written.notes.SetPosition("dir");
  written.files.Add(File(7, 1000, 5));
  const std::string bytes = written.notes.Serialize(kScope);
  for (size_t length = 0; length < bytes.size(); ++length) {
    Notes read;
    read.notes.Parse(std::string_view(bytes).substr(0, length), kScope);
    EXPECT_EQ(read.files.share().files, 0U);
    EXPECT_TRUE(read.notes.position().empty() || read.notes.position() == "dir");
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    Notes read;
    read.notes.Parse(damaged, kScope);
    EXPECT_EQ(read.files.share().files, 0U) << at;
  }
}

TEST(ColdNotesTest, TheyAreBounded) {
  Notes written;
  for (uint64_t inode = 0; inode < UnshrinkableFiles::kMostFiles; ++inode) {
    written.files.Add(File(inode, 1, 1));
  }
  EXPECT_LE(written.notes.Serialize(kScope).size(), size_t{3} << 20);
}

}  // namespace
}  // namespace xzfs
