#include "fs/open_order.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace xzfs {
namespace {

constexpr NodeId kDir = 1;
constexpr NodeId kOtherDir = 2;

// The files 100, 101, ... are listed in kDir, 1000, 1001, ... in kOtherDir.
class OpenOrderTest : public testing::Test {
 protected:
  static std::vector<NodeId> Files(NodeId first, size_t count) {
    std::vector<NodeId> files(count);
    std::iota(files.begin(), files.end(), first);
    return files;
  }
  static std::vector<NodeId> Of(const std::vector<OpenOrder::Place>& places) {
    std::vector<NodeId> files;
    for (const OpenOrder::Place& place : places) {
      files.push_back(place.file);
    }
    return files;
  }
  std::vector<NodeId> Open(NodeId file, NodeId dir = kDir) {
    return Of(order_.Opened(dir, file).files);
  }
  std::vector<NodeId> List(NodeId dir, NodeId first, size_t count) {
    return Of(order_.Listed(dir, Files(first, count)));
  }

  OpenOrder order_;
};

TEST_F(OpenOrderTest, TwoOpensInTheOrderOfTheListingNameTheNextFiles) {
  EXPECT_TRUE(List(kDir, 100, 50).empty());
  EXPECT_TRUE(Open(100).empty());
  EXPECT_EQ(Open(101), (std::vector<NodeId>{102, 103}));
}

TEST_F(OpenOrderTest, EachFileIsNamedOnceAndNoneIsLeftOut) {
  List(kDir, 100, 500);
  std::vector<NodeId> named;
  for (NodeId file = 100; file < 600; ++file) {
    const OpenOrder::Next next = order_.Opened(kDir, file);
    EXPECT_EQ(next.was_named, file >= 102) << file;
    for (const NodeId ahead : Of(next.files)) {
      EXPECT_GT(ahead, file);
      EXPECT_LE(ahead, file + OpenOrder::kMostAhead);
      named.push_back(ahead);
    }
  }
  EXPECT_EQ(named, Files(102, 498));
}

TEST_F(OpenOrderTest, OpensInAnyOtherOrderNameNothing) {
  List(kDir, 100, 50);
  for (const NodeId file : {120U, 110U, 149U, 100U, 130U, 101U, 140U, 103U, 102U}) {
    EXPECT_TRUE(Open(file).empty()) << file;
  }
}

TEST_F(OpenOrderTest, FilesThatWereNotListedNameNothing) {
  EXPECT_TRUE(Open(100).empty());
  EXPECT_TRUE(Open(101).empty());
  List(kDir, 100, 5);
  EXPECT_TRUE(Open(7).empty());
  EXPECT_TRUE(Open(8).empty());
}

TEST_F(OpenOrderTest, AWalkNamesTheFirstFilesOfTheNextDirectoryWhenItIsListed) {
  List(kDir, 100, 4);
  Open(100);
  Open(101);
  EXPECT_EQ(List(kOtherDir, 1000, 20), Files(1000, 8));
  const OpenOrder::Next next = order_.Opened(kOtherDir, 1000);
  EXPECT_TRUE(next.was_named);
  EXPECT_EQ(Of(next.files), Files(1008, 9));
}

TEST_F(OpenOrderTest, AWalkThatOnlyListsEndsSoon) {
  List(kDir, 100, 4);
  Open(100);
  Open(101);
  size_t named = 0;
  for (NodeId dir = 10; dir < 60; ++dir) {
    named += List(dir, dir * 1000, 20).size();
  }
  EXPECT_GT(named, 0u);
  EXPECT_LE(named, 2 * OpenOrder::kMostAhead);
}

TEST_F(OpenOrderTest, FilesThatTheReaderHasPassedAreNotNamedAnyMore) {
  List(kDir, 100, 50);
  Open(100);
  const std::vector<OpenOrder::Place> places = order_.Opened(kDir, 101).files;
  ASSERT_EQ(places.size(), 2u);
  EXPECT_TRUE(order_.IsAhead(places[0]));
  Open(102);
  EXPECT_FALSE(order_.IsAhead(places[0]));
  EXPECT_TRUE(order_.IsAhead(places[1]));
  order_.Forget(kDir);
  EXPECT_FALSE(order_.IsAhead(places[1]));
}

TEST_F(OpenOrderTest, ListingAgainChangesNothing) {
  List(kDir, 100, 10);
  Open(100);
  List(kDir, 100, 10);
  EXPECT_EQ(Open(101), (std::vector<NodeId>{102, 103}));
}

TEST_F(OpenOrderTest, RemembersABoundedNumberOfFiles) {
  List(kDir, 100, 10);
  List(kOtherDir, 1000, OpenOrder::kMostFiles + 10);
  Open(1000, kOtherDir);
  EXPECT_EQ(Open(1001, kOtherDir).size(), 2u);
  // Beyond the bound nothing is known.
  EXPECT_TRUE(Open(1000 + OpenOrder::kMostFiles - 6, kOtherDir).empty());
  EXPECT_TRUE(Open(1000 + OpenOrder::kMostFiles - 5, kOtherDir).empty());
  // The next directory takes the place of the least recently used one.
  List(3, 500000, 10);
  Open(100);
  EXPECT_TRUE(Open(101).empty());
}

}  // namespace
}  // namespace xzfs
