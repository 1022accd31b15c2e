#include "fs/open_counts.h"

#include <gtest/gtest.h>

#include "node_table_fixture.h"

namespace xzfs {
namespace {

class OpenCountsTest : public NodeTableFixture, public testing::Test {
 protected:
  OpenCounts opens_{table_};
};

TEST_F(OpenCountsTest, RemembersTheIdentityOfTheLastOpen) {
  const Node node = FileNode(5);
  const NodeId id = Add(node, kRootNode, "a");
  EXPECT_FALSE(opens_.Add(id, node.identity));
  EXPECT_TRUE(opens_.Add(id, node.identity));
  Identity changed = node.identity;
  ++changed.mtime_ns;
  EXPECT_FALSE(opens_.Add(id, changed));
  EXPECT_FALSE(opens_.Remove(id));
  EXPECT_FALSE(opens_.Remove(id));
  EXPECT_TRUE(opens_.IsOpen(id));
  EXPECT_TRUE(opens_.Remove(id));
  EXPECT_FALSE(opens_.IsOpen(id));
  EXPECT_TRUE(opens_.Add(id, changed)) << "also when no handle was open in between";
}

TEST_F(OpenCountsTest, ANodeThatIsGoneIsNotCounted) {
  const Node node = FileNode(5);
  const NodeId id = Add(node, kRootNode, "a");
  opens_.Add(id, node.identity);
  table_.Forget(id, 1);
  opens_.Forget(id);
  EXPECT_FALSE(opens_.IsOpen(id));
  EXPECT_TRUE(opens_.Remove(id));
  EXPECT_FALSE(opens_.Add(id, node.identity));
  EXPECT_FALSE(opens_.Add(id, node.identity));
  EXPECT_FALSE(opens_.IsOpen(id));
}

}  // namespace
}  // namespace xzfs
