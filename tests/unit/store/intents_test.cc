// How an operation that was cut off between its steps is completed, depending on the source's
// files.
#include "store/intents.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

namespace fs = std::filesystem;

// A plain file `a/new` takes the place of the compressed `b/old.xz`, and is then `b/old`.
class IntentsTest : public testing::Test {
 protected:
  IntentsTest() {
    fs::create_directory(Path("a"));
    fs::create_directory(Path("b"));
    std::ofstream(Path("a/new")) << "new";
    std::ofstream(Path("b/old.xz")) << "old";
    replaces_ = {{IntentStep::Kind::kRename, InodeOf("a/new"), "a/new", "b/old"},
                 {IntentStep::Kind::kUnlink, InodeOf("b/old.xz"), "b/old.xz", {}}};
    exchanges_ = replaces_;
    exchanges_[1].kind = IntentStep::Kind::kRename;
    exchanges_[1].to = "a/new.xz";
  }
  fs::path Path(const std::string& name) const { return dir_.path() / name; }
  uint64_t InodeOf(const std::string& name) const {
    struct stat st = {};
    stat(Path(name).c_str(), &st);
    return st.st_ino;
  }
  bool Has(const std::string& name) const { return fs::exists(Path(name)); }
  void Complete(const std::vector<IntentStep>& steps) {
    EXPECT_TRUE(CompleteIntent(Os::Real(), dir_.fd(), *session_, {steps, written_}));
  }

  const TempDir dir_;
  const std::unique_ptr<Session> session_ = *Session::Create(Os::Real(), dir_.fd());
  std::vector<IntentStep> replaces_;
  std::vector<IntentStep> exchanges_;
  struct timespec written_ = {};  // long before all existing files
};

TEST_F(IntentsTest, AnOperationThatWasNotBegunStaysUndone) {
  for (const auto& steps : {replaces_, exchanges_}) {
    Complete(steps);
    EXPECT_TRUE(Has("a/new") && Has("b/old.xz") && !Has("b/old"));
  }
}

TEST_F(IntentsTest, TheFirstStepIsFollowedByTheSecond) {
  fs::rename(Path("a/new"), Path("b/old"));
  Complete(replaces_);
  EXPECT_TRUE(Has("b/old") && !Has("b/old.xz"));
}

TEST_F(IntentsTest, TheFirstStepIsFollowedByTheSecondThoughAThirdFileHasTheNameNow) {
  fs::rename(Path("a/new"), Path("b/old"));
  std::ofstream(Path("a/newer")) << "newer";
  fs::rename(Path("a/newer"), Path("b/old"));
  Complete(replaces_);
  EXPECT_TRUE(Has("b/old") && !Has("b/old.xz"));
}

TEST_F(IntentsTest, TheOldFileStaysIfNoFileHasTheNewName) {
  fs::rename(Path("a/new"), Path("a/elsewhere"));
  Complete(replaces_);
  EXPECT_TRUE(Has("b/old.xz"));
}

TEST_F(IntentsTest, AnExchangeIsCompleted) {
  fs::rename(Path("a/new"), Path("b/old"));
  Complete(exchanges_);
  EXPECT_TRUE(Has("b/old") && Has("a/new.xz") && !Has("b/old.xz"));
}

TEST_F(IntentsTest, ARenameIsCompletedIfTheDiskKeptBothNames) {
  fs::create_hard_link(Path("a/new"), Path("b/old"));
  Complete(replaces_);
  EXPECT_TRUE(!Has("a/new") && Has("b/old") && !Has("b/old.xz"));
}

TEST_F(IntentsTest, AnExchangeIsCompletedIfTheDiskKeptBothNames) {
  fs::create_hard_link(Path("a/new"), Path("b/old"));
  Complete(exchanges_);
  EXPECT_TRUE(!Has("a/new") && Has("b/old") && Has("a/new.xz") && !Has("b/old.xz"));
}

TEST_F(IntentsTest, AnExchangeIsCompletedIfItsSecondStepWasDone) {
  fs::create_hard_link(Path("a/new"), Path("b/old"));
  fs::rename(Path("b/old.xz"), Path("a/new.xz"));
  Complete(exchanges_);
  EXPECT_TRUE(!Has("a/new") && Has("a/new.xz") && Has("b/old"));
}

TEST_F(IntentsTest, AnExchangeIsCompletedIfTheDiskKeptOnlyTheSecondRename) {
  fs::rename(Path("b/old.xz"), Path("a/new.xz"));
  Complete(exchanges_);
  EXPECT_TRUE(!Has("a/new") && Has("a/new.xz") && Has("b/old"));
}

TEST_F(IntentsTest, AnExchangeDoesNotOverwriteALaterFileOfThatName) {
  fs::rename(Path("b/old.xz"), Path("a/new.xz"));
  std::ofstream(Path("b/old")) << "a third one";
  Complete(exchanges_);
  EXPECT_TRUE(Has("a/new") && Has("a/new.xz") && Has("b/old"));
}

TEST_F(IntentsTest, AnExchangeIsCompletedIfTheDiskKeptBothNamesOfTheSecondFile) {
  fs::rename(Path("a/new"), Path("b/old"));
  fs::create_hard_link(Path("b/old.xz"), Path("a/new.xz"));
  Complete(exchanges_);
  EXPECT_TRUE(Has("b/old") && Has("a/new.xz") && !Has("b/old.xz"));
}

// A rename put the file that the intent removes in the place of an earlier file. The disk has lost
// that rename, so the earlier file has its name again.
TEST_F(IntentsTest, AnEarlierFileUnderTheRemovedNameIsKeptInLostAndFound) {
  fs::rename(Path("a/new"), Path("b/old"));
  replaces_[1].inode += 1'000'000;
  Complete(replaces_);
  EXPECT_TRUE(Has("b/old.xz")) << "a file that came after the intent belongs to another program";
  struct stat st = {};
  stat(Path("b/old.xz").c_str(), &st);
  written_ = st.st_ctim;
  Complete(replaces_);
  EXPECT_TRUE(Has("b/old") && !Has("b/old.xz"));
  int found = 0;
  for (const auto& file : fs::directory_iterator(Path(".xzfs/lost+found"))) {
    found += file.path().extension() == ".aside" ? 1 : 0;
  }
  EXPECT_EQ(found, 1);
}

TEST_F(IntentsTest, AnotherNameThatTheFileGotLaterStays) {
  fs::rename(Path("a/new"), Path("b/old"));
  fs::remove(Path("b/old.xz"));
  fs::create_hard_link(Path("b/old"), Path("a/new"));
  Complete(replaces_);
  EXPECT_TRUE(Has("a/new") && Has("b/old"));
}

}  // namespace
}  // namespace xzfs
