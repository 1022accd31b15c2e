// The folder of a session, and the files that a session leaves behind.
#include "store/session.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "support/forwarding_os.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

class PendingTest : public testing::Test {
 protected:
  uint64_t Size() const {
    return std::filesystem::file_size(dir_.path() / ".xzfs" / session_->name() / "pending");
  }

  const TempDir dir_;
  const std::unique_ptr<Session> session_ = *Session::Create(Os::Real(), dir_.fd());
};

TEST_F(PendingTest, IsWrittenAgainWhenMostOfItIsObsolete) {
  const std::vector<std::string> alive = {"one", "two"};
  uint64_t largest = 0;
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(
        session_->pending().Note("a/path/of/" + std::string(200, 'x'), [&] { return alive; }));
    largest = std::max(largest, Size());
  }
  EXPECT_GT(largest, (uint64_t{1} << 20) - 1000);
  EXPECT_LT(largest, (uint64_t{1} << 20) + 1000);
  ASSERT_TRUE(session_->pending().Note("three", [&] { return alive; }));
  const std::vector<std::string> paths = *session_->pending().Read();
  EXPECT_EQ(paths.front(), "one");
  EXPECT_EQ(paths[1], "two");
  EXPECT_EQ(paths.back(), "three");
}

TEST_F(PendingTest, GrowsToTwiceTheSizeOfItsUsefulEntries) {
  std::vector<std::string> alive;
  for (int i = 0; i < 15'000; ++i) {
    alive.push_back(std::string(200, 'x') + std::to_string(i));
    ASSERT_TRUE(session_->pending().Note(alive.back(), [&] { return alive; }));
  }
  EXPECT_EQ(*session_->pending().Read(), alive);
}

TEST_F(PendingTest, KeepsItsUsefulEntriesWhenAllOthersAreObsolete) {
  const auto none = [] { return std::vector<std::string>(); };
  const auto one = [] { return std::vector<std::string>{"one"}; };
  ASSERT_TRUE(session_->pending().Note("one", none));
  ASSERT_TRUE(session_->pending().Note("two", none));
  session_->pending().KeepIf([] { return false; }, none);
  EXPECT_EQ(session_->pending().Read()->size(), 2U);
  session_->pending().KeepIf([] { return true; }, one);
  EXPECT_EQ(*session_->pending().Read(), one());
  session_->pending().KeepIf([] { return true; }, none);
  EXPECT_EQ(Size(), 0U);
}

// A power cut may leave any of the temporary files of `.xzfs`.
TEST(SessionTest, TheNextMountRemovesAHalfWrittenMarker) {
  for (const bool has_finds : {false, true}) {
    const TempDir dir;
    const std::filesystem::path home = dir.path() / ".xzfs";
    std::filesystem::create_directories(has_finds ? home / "lost+found" : home);
    std::ofstream(home / "lock");
    std::ofstream(home / "marker.new") << "xz";
    const auto dead = Session::AdoptDead(Os::Real(), dir.fd());
    ASSERT_TRUE(dead);
    EXPECT_TRUE(dead->empty());
    EXPECT_FALSE(std::filesystem::exists(home / "marker.new"));
    EXPECT_EQ(std::filesystem::exists(home), has_finds) << "nothing is left in it";
  }
}

// Detects removals of open files. On NFS such a file gets another name and stays.
class OpenFilesOs : public ForwardingOs {
 public:
  // The names of files of a session that were removed while they were open.
  std::vector<std::string> unlinked_open;

  int Unlink(int dir, const std::string& name, int flags) override {
    struct stat st = {};
    if (StatAt(dir, name, &st) == 0 && S_ISREG(st.st_mode) && !IsHome(dir) && IsOpen(st)) {
      unlinked_open.push_back(name);
    }
    return ForwardingOs::Unlink(dir, name, flags);
  }

 protected:
  int Before(std::string_view /*call*/, const std::string& /*name*/) override { return 0; }

 private:
  static bool IsHome(int dir) {
    return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(dir)).filename() ==
           ".xzfs";
  }
  static bool IsOpen(const struct stat& file) {
    for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
      struct stat st = {};
      if (stat(fd.path().c_str(), &st) == 0 && st.st_ino == file.st_ino &&
          st.st_dev == file.st_dev) {
        return true;
      }
    }
    return false;
  }
};

TEST(SessionTest, ItsFilesAreClosedBeforeTheyLoseTheirNames) {
  const TempDir dir;
  OpenFilesOs os;
  const auto session = *Session::Create(os, dir.fd());
  const PendingPaths::Paths none = [] { return std::vector<std::string>(); };
  ASSERT_TRUE(session->pending().Note("a file", none));
  session->pending().KeepIf([] { return true; }, none);
  Claim claim;
  claim.kind = Claim::Kind::kTwin;
  claim.name = "a file";
  claim.other = "a file.xz";
  auto held = session->claims().Add(std::move(claim));
  ASSERT_TRUE(held);
  held->Done();
  session->RemoveIfEmpty();
  EXPECT_EQ(os.unlinked_open, std::vector<std::string>()) << "were open";
  EXPECT_FALSE(std::filesystem::exists(dir.path() / ".xzfs"));
}

}  // namespace
}  // namespace xzfs
