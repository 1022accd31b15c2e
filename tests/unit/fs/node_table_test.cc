#include "fs/node_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "node_table_fixture.h"

namespace xzfs {
namespace {

class NodeTableTest : public NodeTableFixture, public testing::Test {};

TEST_F(NodeTableTest, FilesOfTwoDevicesWithOneInodeNumberGetTwoNumbers) {
  Node other = FileNode(5);
  other.identity.device = 2;
  const NodePtr a = table_.Find(Add(FileNode(5), kRootNode, "a"));
  const NodePtr b = table_.Find(Add(other, kRootNode, "b"));
  EXPECT_NE(a->id, b->id);
  EXPECT_EQ(a->shown_inode, 5U);
  EXPECT_NE(b->shown_inode, 5U);
  EXPECT_EQ(b->shown_inode, numbers_.Of({2, 5}));
}

TEST_F(NodeTableTest, TwoNamesOfOneFileAreOneNode) {
  const NodeId a = Add(FileNode(5), kRootNode, "a");
  const NodeId b = Add(FileNode(5), kRootNode, "b");
  EXPECT_EQ(a, b);
  EXPECT_EQ(table_.LocationOf(a).stored_name, "b");
}

TEST_F(NodeTableTest, AChangedPlainFileIsTheSameNodeAndACompressedOneIsNot) {
  EXPECT_EQ(Add(FileNode(5, StoredKind::kPlain, 1), kRootNode, "a"),
            Add(FileNode(5, StoredKind::kPlain, 2), kRootNode, "a"));
  EXPECT_NE(Add(FileNode(6, StoredKind::kCompressed, 1), kRootNode, "b.xz"),
            Add(FileNode(6, StoredKind::kCompressed, 2), kRootNode, "b.xz"));
}

TEST_F(NodeTableTest, ANodeLivesUntilAllItsLookupsAreForgotten) {
  const NodeId id = Add(FileNode(5), kRootNode, "a");
  Add(FileNode(5), kRootNode, "a");
  EXPECT_TRUE(table_.Forget(id, 1).empty());
  EXPECT_NE(table_.Find(id), nullptr);
  EXPECT_EQ(table_.Forget(id, 1), std::vector<NodeId>{id});
  EXPECT_EQ(table_.Find(id), nullptr);
}

TEST_F(NodeTableTest, AnIdIsNeverUsedAgain) {
  const NodeId first = Add(FileNode(5), kRootNode, "a");
  table_.Forget(first, 1);
  EXPECT_NE(Add(FileNode(5), kRootNode, "a"), first);
}

TEST_F(NodeTableTest, AParentLivesAsLongAsItsChildren) {
  const NodeId dir = Add(FileNode(5, StoredKind::kDirectory), kRootNode, "d");
  const NodeId file = Add(FileNode(6), dir, "f");
  EXPECT_TRUE(table_.Forget(dir, 1).empty());
  EXPECT_EQ(table_.PathOf(file), "d/f");
  EXPECT_EQ(table_.Forget(file, 1), (std::vector<NodeId>{file, dir}));
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(NodeTableTest, NamesAFileByItsPathBelowTheSource) {
  const NodeId dir = Add(FileNode(5, StoredKind::kDirectory), kRootNode, "d");
  EXPECT_EQ(table_.PathIn(kRootNode, "f.xz"), "f.xz");
  EXPECT_EQ(table_.PathIn(dir, "f.xz"), "d/f.xz");
}

TEST_F(NodeTableTest, ForgettingTooMuchOrTheUnknownIsHarmless) {
  const NodeId id = Add(FileNode(5), kRootNode, "a");
  EXPECT_TRUE(table_.Forget(12345, 1).empty());
  EXPECT_TRUE(table_.Forget(kRootNode, 100).empty());
  EXPECT_EQ(table_.Forget(id, UINT64_MAX).size(), 1u);
  EXPECT_NE(table_.Find(kRootNode), nullptr);
}

TEST_F(NodeTableTest, ADirectoryMovedBelowItsFormerChildMakesNoCycle) {
  const NodeId a = Add(FileNode(5, StoredKind::kDirectory), kRootNode, "a");
  const NodeId b = Add(FileNode(6, StoredKind::kDirectory), a, "b");
  // In the source: mv a/b b; mv a b/a. The kernel looks up a below b first.
  const NodeId moved = Add(FileNode(5, StoredKind::kDirectory), b, "a");
  EXPECT_NE(moved, a);
  EXPECT_EQ(table_.PathOf(moved), "a/b/a");
  table_.Forget(moved, 1);
  table_.Forget(b, 1);
  table_.Forget(a, 1);
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(NodeTableTest, AMovedFileIsFoundAtItsNewPlace) {
  const NodeId dir = Add(FileNode(5, StoredKind::kDirectory), kRootNode, "d");
  const NodeId file = Add(FileNode(6), kRootNode, "f");
  Add(FileNode(6), dir, "g");
  EXPECT_EQ(table_.PathOf(file), "d/g");
  table_.Forget(file, 2);
  table_.Forget(dir, 1);
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(NodeTableTest, PathsAreThoseOfTheWayUpAndOfPartsOfIt) {
  NodeId at = kRootNode;
  std::string path;
  for (uint64_t level = 0; level < 70; ++level) {
    at = Add(FileNode(5 + level, StoredKind::kDirectory), at, "d");
    path += level == 0 ? "d" : "/d";
  }
  const std::vector<NodeTable::Step> way = table_.WayUp(at);
  ASSERT_EQ(way.size(), 71u);
  EXPECT_EQ(way.front().id, at);
  EXPECT_EQ(way.back().id, kRootNode);
  EXPECT_EQ(table_.DepthOf(at), 70u);
  EXPECT_EQ(table_.FullPathOf(at), path);
  EXPECT_EQ(table_.PathOf(at), "..." + path.substr(path.size() - 64 * 2));
  EXPECT_EQ(table_.PathBelow(at, way[2].id), "d/d");
  EXPECT_EQ(table_.PathBelow(at, at), "");
  EXPECT_EQ(table_.PathBelow(way[2].id, at), std::nullopt);
  EXPECT_EQ(table_.PathOf(kRootNode), ".");
  EXPECT_TRUE(table_.WayUp(12345).empty());
  EXPECT_EQ(table_.PathOf(12345), ".");
}

TEST_F(NodeTableTest, CountsEndRightWhenManyThreadsLookUpAndForget) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const NodeId dir = Add(FileNode(5, StoredKind::kDirectory), kRootNode, "d");
        const NodeId file = Add(FileNode(100 + static_cast<uint64_t>(i % 7)), dir, "f");
        table_.Forget(file, 1);
        table_.Forget(dir, 1);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(table_.size(), 1u);
}

}  // namespace
}  // namespace xzfs
