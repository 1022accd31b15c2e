// When an intent with all steps done may be removed, and before which operations it must be.
#include "fs/done_intents.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/forwarding_os.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

std::vector<IntentStep> Renames(const std::string& from, const std::string& to) {
  return {{IntentStep::Kind::kRename, 1, from, to}, {IntentStep::Kind::kUnlink, 2, to + ".xz", {}}};
}

TEST(DoneIntentTest, ConcernsOperationsThatNameOneOfItsPaths) {
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

// Fails each sync with an error of the test's choice.
class FailingSyncOs : public ForwardingOs {
 public:
  void FailSyncs(int error) { error_ = error; }

 protected:
  int Before(std::string_view call, const std::string& /*name*/) override {
    return call == "Sync" ? error_ : 0;
  }

 private:
  int error_ = 0;
};

class DoneIntentsTest : public testing::Test {
 protected:
  void SetUp() override {
    session_ = *Session::Create(Os::Real(), dir_.fd());
    const auto dir = std::make_shared<SharedDescriptor>(
        Descriptor(os_, os_.OpenBeneath(dir_.fd(), ".xzfs", O_RDONLY | O_DIRECTORY, 0)));
    const auto name = session_->WriteIntent(Renames("a", "b"));
    ASSERT_TRUE(name);
    intent_ = dir_.path() / ".xzfs" / session_->name() / *name;
    intents_.Add({session_, *name, {dir}, Renames("a", "b")});
  }
  bool IsThere() const { return std::filesystem::exists(intent_); }

  const TempDir dir_;
  FailingSyncOs os_;
  std::shared_ptr<Session> session_;
  std::filesystem::path intent_;
  DoneIntents intents_{os_};
};

TEST_F(DoneIntentsTest, AnIntentIsRemovedWhenItsDirectoriesAreOnTheDisk) {
  intents_.Remove(2);
  EXPECT_TRUE(IsThere()) << "there is only one";
  intents_.RemoveBefore(Renames("c", "d"));
  EXPECT_TRUE(IsThere()) << "it is about other files";
  intents_.RemoveBefore(Renames("b", "c"));
  EXPECT_FALSE(IsThere());
}

TEST_F(DoneIntentsTest, ASyncThatFailedIsTriedAgain) {
  os_.FailSyncs(-EIO);
  intents_.Remove(1);
  EXPECT_TRUE(IsThere());
  os_.FailSyncs(0);
  intents_.Remove(1);
  EXPECT_FALSE(IsThere());
}

// Otherwise each later operation would fail in the same way, and log it.
TEST_F(DoneIntentsTest, ADirectoryThatCannotBeSyncedLeavesItsIntentToTheNextMount) {
  os_.FailSyncs(-EBADF);
  intents_.Remove(1);
  os_.FailSyncs(0);
  intents_.Remove(1);
  EXPECT_TRUE(IsThere());
}

}  // namespace
}  // namespace xzfs
