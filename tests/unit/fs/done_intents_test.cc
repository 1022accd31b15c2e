// Which intents must be off the disk before another one may name the same files.
#include "fs/done_intents.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace xzfs {
namespace {

std::vector<IntentStep> Renames(const std::string& from, const std::string& to) {
  return {{IntentStep::Kind::kRename, 1, from, to}, {IntentStep::Kind::kUnlink, 2, to + ".xz", {}}};
}

TEST(DoneIntentTest, ConcernsThoseThatNameOneOfItsPaths) {
  const DoneIntent done{nullptr, "1.intent", {}, Renames("a", "b")};
  EXPECT_TRUE(done.Concerns(Renames("b", "c"))) << "where it has moved to";
  EXPECT_TRUE(done.Concerns(Renames("c", "a"))) << "where it was";
  EXPECT_TRUE(done.Concerns(Renames("b.xz", "c"))) << "what it has removed";
  EXPECT_FALSE(done.Concerns(Renames("c", "d")));
}

// A removal has no second path.
TEST(DoneIntentTest, DoesNotTakeThePathsOfTwoRemovalsForOne) {
  const DoneIntent done{nullptr, "1.intent", {}, Renames("a", "b")};
  EXPECT_FALSE(done.Concerns({{IntentStep::Kind::kUnlink, 2, "c", {}}}));
}

}  // namespace
}  // namespace xzfs
