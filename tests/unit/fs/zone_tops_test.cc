#include "fs/zone_tops.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "node_table_fixture.h"

namespace xzfs {
namespace {

class ZoneTopsTest : public NodeTableFixture, public testing::Test {
 protected:
  ZoneTopsTest() { tops_.SetZone(kRootNode, root_zone_); }

  const ZonePtr root_zone_ = std::make_shared<Zone>();
  ZoneTops tops_{table_};
  const NodeId dir_ = Add(FileNode(5, StoredKind::kDirectory), kRootNode, "d");
  const NodeId inner_ = Add(FileNode(6, StoredKind::kDirectory), dir_, "e");
  const NodeId file_ = Add(FileNode(7), inner_, "f");
};

TEST_F(ZoneTopsTest, ANodeIsInTheNearestZoneAboveIt) {
  std::string path;
  EXPECT_EQ(tops_.ZoneOf(file_, &path), root_zone_);
  EXPECT_EQ(path, "d/e/f");
  const ZonePtr zone = tops_.SetZone(dir_, std::make_shared<Zone>());
  EXPECT_NE(zone, root_zone_);
  EXPECT_EQ(tops_.ZoneOf(file_, &path), zone);
  EXPECT_EQ(path, "e/f");
  EXPECT_EQ(tops_.ZoneOf(dir_, &path), zone);
  EXPECT_EQ(path, "");
  EXPECT_EQ(tops_.ZoneAt(dir_), zone);
  EXPECT_EQ(tops_.ZoneAt(inner_), nullptr);
  tops_.DropZone(dir_);
  EXPECT_EQ(tops_.ZoneOf(file_), root_zone_);
}

TEST_F(ZoneTopsTest, ADirectoryKeepsItsFirstZone) {
  const ZonePtr zone = tops_.SetZone(dir_, std::make_shared<Zone>());
  EXPECT_EQ(tops_.SetZone(dir_, std::make_shared<Zone>()), zone);
  EXPECT_EQ(tops_.ZoneAt(dir_), zone);
}

TEST_F(ZoneTopsTest, ALookIsOfUseUntilItIsTooOld) {
  EXPECT_FALSE(tops_.WasLookedAt(dir_, 0));
  tops_.NoteLook(dir_, 10);
  EXPECT_TRUE(tops_.WasLookedAt(dir_, 10));
  EXPECT_FALSE(tops_.WasLookedAt(dir_, 11));
  EXPECT_FALSE(tops_.WasLookedAt(inner_, 0));
}

TEST_F(ZoneTopsTest, NothingIsKeptOfANodeThatIsGone) {
  const std::weak_ptr<Zone> zone = tops_.SetZone(dir_, std::make_shared<Zone>());
  tops_.NoteLook(dir_, 10);
  for (const NodeId id : {dir_, inner_, file_}) {
    for (const NodeId gone : table_.Forget(id, 1)) {
      tops_.Forget(gone);
    }
  }
  ASSERT_EQ(table_.Find(dir_), nullptr);
  EXPECT_TRUE(zone.expired());
  EXPECT_EQ(tops_.ZoneOf(dir_), nullptr);
  const auto late = std::make_shared<Zone>();
  EXPECT_EQ(tops_.SetZone(dir_, late), nullptr);
  EXPECT_EQ(late.use_count(), 1);
  tops_.NoteLook(dir_, 10);
  EXPECT_TRUE(tops_.WasLookedAt(dir_, 20)) << "there is nothing to look at";
}

}  // namespace
}  // namespace xzfs
