#include "store/cold_notes.h"

#include <gtest/gtest.h>

#include <string>

namespace xzfs {
namespace {

TEST(ColdNotesTest, ParsingReturnsWhatWasSerialized) {
  ColdNotes notes;
  EXPECT_EQ(notes.Serialize(), "");
  notes.SetPosition("a/b\n\xFF");
  notes.AddUnshrinkable(7, 1000, -5);
  notes.AddUnshrinkable(8, 2000, 6);
  ColdNotes read;
  read.Parse(notes.Serialize());
  EXPECT_EQ(read.position(), "a/b\n\xFF");
  EXPECT_TRUE(read.IsUnshrinkable(7, 1000, -5));
  EXPECT_TRUE(read.IsUnshrinkable(8, 2000, 6));
  EXPECT_FALSE(read.changed());
}

TEST(ColdNotesTest, AChangedFileCountsAsAnotherOne) {
  ColdNotes notes;
  notes.AddUnshrinkable(7, 1000, 5);
  EXPECT_FALSE(notes.IsUnshrinkable(7, 1001, 5));
  EXPECT_FALSE(notes.IsUnshrinkable(7, 1000, 6));
  EXPECT_FALSE(notes.IsUnshrinkable(8, 1000, 5));
  notes.AddUnshrinkable(7, 1001, 5);
  EXPECT_TRUE(notes.IsUnshrinkable(7, 1001, 5));
  EXPECT_EQ(notes.size(), 1U);
}

TEST(ColdNotesTest, TruncatedOrDamagedBytesGiveNoWrongNotes) {
  ColdNotes notes;
  notes.SetPosition("dir");
  notes.AddUnshrinkable(7, 1000, 5);
  const std::string bytes = notes.Serialize();
  for (size_t length = 0; length < bytes.size(); ++length) {
    ColdNotes read;
    read.Parse(std::string_view(bytes).substr(0, length));
    EXPECT_EQ(read.size(), 0U);
    EXPECT_TRUE(read.position().empty() || read.position() == "dir");
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    ColdNotes read;
    read.Parse(damaged);
    EXPECT_EQ(read.size(), 0U) << at;
  }
}

TEST(ColdNotesTest, ACompleteSearchForgetsFilesThatItDidNotSee) {
  ColdNotes notes;
  notes.AddUnshrinkable(1, 10, 0);
  notes.AddUnshrinkable(2, 20, 0);
  notes.BeginSearch();
  EXPECT_TRUE(notes.IsUnshrinkable(2, 20, 0));
  notes.AddUnshrinkable(3, 30, 0);
  notes.EndSearch();
  EXPECT_FALSE(notes.IsUnshrinkable(1, 10, 0));
  EXPECT_TRUE(notes.IsUnshrinkable(2, 20, 0));
  EXPECT_TRUE(notes.IsUnshrinkable(3, 30, 0));
}

TEST(ColdNotesTest, TheyAreBounded) {
  ColdNotes notes;
  for (uint64_t inode = 0; inode < ColdNotes::kMostFiles + 100; ++inode) {
    notes.AddUnshrinkable(inode, 1, 1);
  }
  EXPECT_EQ(notes.size(), ColdNotes::kMostFiles);
  EXPECT_TRUE(notes.IsUnshrinkable(ColdNotes::kMostFiles + 99, 1, 1));  // the newest is there
  EXPECT_LE(notes.Serialize().size(), size_t{3} << 20);
}

}  // namespace
}  // namespace xzfs
