#include "fs/listing.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace xzfs {
namespace {

using Names = std::vector<std::string>;

TEST(ListingTest, AFileThatMovesBehindTheListingsPositionIsMissedOnce) {
  ListingTable table;
  const auto listing = table.Open(5);
  table.NoteMove(5, "file");
  table.NoteMove(6, "of another directory");
  EXPECT_EQ(listing->Missed(), Names{"file"});
  EXPECT_TRUE(listing->IsDue("file"));
  listing->NoteShown("file", /*may_move=*/false);
  EXPECT_TRUE(listing->Missed().empty());
  EXPECT_FALSE(listing->IsDue("file"));
}

TEST(ListingTest, AFileThatWasShownAndMovesIsNotShownAgain) {
  ListingTable table;
  const auto listing = table.Open(5);
  listing->NoteShown("file", /*may_move=*/true);
  EXPECT_TRUE(listing->IsDue("file")) << "it may have been removed and made again";
  table.NoteMove(5, "file");
  EXPECT_FALSE(listing->IsDue("file"));
  EXPECT_TRUE(listing->Missed().empty());
}

TEST(ListingTest, AListingThatBeginsAgainRemembersNothing) {
  ListingTable table;
  const auto listing = table.Open(5);
  listing->NoteShown("file", /*may_move=*/true);
  table.NoteMove(5, "file");
  table.NoteMove(5, "other");
  listing->Restart();
  EXPECT_TRUE(listing->IsDue("file"));
  EXPECT_TRUE(listing->Missed().empty());
}

TEST(ListingTest, ListingsOfOneDirectoryAreIndependentAndEndAlone) {
  ListingTable table;
  const auto one = table.Open(5);
  {
    const auto two = table.Open(5);
    one->NoteShown("file", /*may_move=*/true);
    table.NoteMove(5, "file");
    EXPECT_TRUE(one->Missed().empty());
    EXPECT_EQ(two->Missed(), Names{"file"});
  }
  table.NoteMove(5, "later");
  EXPECT_EQ(one->Missed(), Names{"later"});
}

TEST(ListingTest, WhatItRemembersIsBounded) {
  ListingTable table;
  const auto listing = table.Open(5);
  for (size_t number = 0; number < Listing::kMostNames + 10; ++number) {
    table.NoteMove(5, std::to_string(number));
  }
  EXPECT_EQ(listing->Missed().size(), Listing::kMostNames);
}

}  // namespace
}  // namespace xzfs
