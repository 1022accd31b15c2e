#include "store/unshrinkable_files.h"

#include <gtest/gtest.h>

namespace xzfs {
namespace {

Identity File(uint64_t inode, uint64_t size_bytes, int64_t mtime_ns = 0) {
  return {.device = 3, .inode = inode, .size_bytes = size_bytes, .mtime_ns = mtime_ns};
}

TEST(UnshrinkableFilesTest, AFileThatChangedUnseenCountsAsAnotherOne) {
  UnshrinkableFiles files;
  files.Add(File(7, 1000, 5));
  EXPECT_TRUE(files.Has(File(7, 1000, 5)));
  EXPECT_FALSE(files.Has(File(7, 1001, 5)));
  EXPECT_FALSE(files.Has(File(7, 1000, 6)));
  EXPECT_FALSE(files.Has(File(8, 1000, 5)));
  files.Add(File(7, 1001, 5));
  EXPECT_TRUE(files.Has(File(7, 1001, 5)));
  EXPECT_EQ(files.share().files, 1U);
  EXPECT_EQ(files.share().bytes, 1001U);
}

TEST(UnshrinkableFilesTest, TheNoteHoldsUntilATenthWasWritten) {
  UnshrinkableFiles files;
  files.Add(File(7, 1000, 5));
  files.NoteWritten(File(7, 1000, 6), 50);
  EXPECT_TRUE(files.Has(File(7, 1000, 6)));
  files.NoteWritten(File(7, 1000, 7), 49);
  EXPECT_TRUE(files.Has(File(7, 1000, 7)));
  files.NoteWritten(File(7, 1000, 8), 1);
  EXPECT_FALSE(files.Knows({3, 7}));
  EXPECT_EQ(files.share().bytes, 0U);
}

TEST(UnshrinkableFilesTest, TheNoteHoldsUntilTheSizeHasChangedByATenth) {
  for (const uint64_t size : {1099U, 901U}) {
    UnshrinkableFiles files;
    files.Add(File(7, 1000));
    files.NoteWritten(File(7, size, 6), 1);
    EXPECT_TRUE(files.Has(File(7, size, 6)));
    EXPECT_EQ(files.share().bytes, size);
    files.NoteWritten(File(7, size > 1000 ? 1100 : 900, 7), 1);
    EXPECT_FALSE(files.Knows({3, 7}));
  }
}

TEST(UnshrinkableFilesTest, ASmallFileIsTriedAgainAfterEachChange) {
  UnshrinkableFiles files;
  files.Add(File(7, 3));
  files.NoteWritten(File(7, 3, 6), 1);
  EXPECT_FALSE(files.Knows({3, 7}));
}

TEST(UnshrinkableFilesTest, ACompleteSearchForgetsFilesThatItDidNotSee) {
  UnshrinkableFiles files;
  files.Add(File(1, 10));
  files.Add(File(2, 20));
  files.BeginSearch();
  EXPECT_TRUE(files.Has(File(2, 20)));
  files.Add(File(3, 30));
  files.EndSearch();
  EXPECT_FALSE(files.Has(File(1, 10)));
  EXPECT_TRUE(files.Has(File(2, 20)));
  EXPECT_TRUE(files.Has(File(3, 30)));
  EXPECT_EQ(files.share().bytes, 50U);
}

TEST(UnshrinkableFilesTest, WhatIsRemovedIsForgotten) {
  UnshrinkableFiles files;
  files.Add(File(1, 10));
  files.Add(File(2, 20));
  files.Forget({3, 1});
  files.Forget({3, 9});
  EXPECT_FALSE(files.Knows({3, 1}));
  EXPECT_EQ(files.share().bytes, 20U);
  files.Clear();
  EXPECT_EQ(files.share().files, 0U);
  EXPECT_EQ(files.share().bytes, 0U);
}

TEST(UnshrinkableFilesTest, TheyAreBounded) {
  UnshrinkableFiles files;
  for (uint64_t inode = 0; inode < UnshrinkableFiles::kMostFiles + 100; ++inode) {
    files.Add(File(inode, 1, 1));
  }
  EXPECT_EQ(files.share().files, UnshrinkableFiles::kMostFiles);
  EXPECT_EQ(files.share().bytes, UnshrinkableFiles::kMostFiles);
  EXPECT_TRUE(files.Has(File(UnshrinkableFiles::kMostFiles + 99, 1, 1)));  // the newest is there
}

}  // namespace
}  // namespace xzfs
