// Commits of files that would not shrink.
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <utility>

#include "commit_fixture.h"

namespace xzfs {
namespace {

class UnshrinkableCommitTest : public CommitTest {
 protected:
  void SetUp() override {
    std::minstd_rand random(1);
    std::string noise(size_t{3} << 20, '\0');
    for (char& byte : noise) {
      byte = static_cast<char>(random() >> 8);
    }
    source_.Write("photo", noise);
    CommitTest::SetUp();
    const auto found = mount_->lookups.Lookup(kRootNode, "photo");
    ASSERT_TRUE(found) << found.error().message;
    photo_ = found->node;
    EditOn(*mount_, photo_, 'X', 0);
  }

  uint64_t unshrinkable() { return mount_->unshrinkable.share().files; }
  uint64_t in_vain() { return mount_->engine.stats.commits_in_vain.Get(); }

  NodeId photo_ = 0;
};

TEST_F(UnshrinkableCommitTest, TheFileStaysPlainAndIsNotTriedAgain) {
  for (int tries = 0; tries < 3; ++tries) {
    EXPECT_TRUE(mount_->commits.SyncCommits());
    EXPECT_EQ(unshrinkable(), 1U);
    EXPECT_EQ(in_vain(), 1U);
    EXPECT_EQ(mount_->engine.stats.commits_done.Get(), 0U);
    EditOn(*mount_, photo_, 'Y', 5);
  }
}

TEST_F(UnshrinkableCommitTest, AWriterThatComesDuringTheLookLeavesNoVerdict) {
  std::unique_ptr<OpenFile> writer;
  os_.BeforeNext("PRead", [&] {
    auto file = mount_->handles.Open(photo_, O_WRONLY);
    EXPECT_TRUE(file) << file.error().message;
    writer = std::move(file->file);
    return 0;
  });
  EXPECT_TRUE(mount_->commits.SyncCommits());
  ASSERT_NE(writer, nullptr);
  EXPECT_EQ(mount_->engine.stats.commits_cancelled.Get(), 1U);
  EXPECT_EQ(unshrinkable(), 0U);
  mount_->handles.Close(std::move(writer));
  EXPECT_TRUE(mount_->commits.SyncCommits());
  EXPECT_EQ(unshrinkable(), 1U);
}

TEST_F(UnshrinkableCommitTest, AnErrorOfTheLookLeavesNoVerdict) {
  os_.BeforeNext("PRead", [] { return -EIO; });
  EXPECT_FALSE(mount_->commits.SyncCommits());
  EXPECT_EQ(unshrinkable(), 0U);
  EXPECT_TRUE(mount_->commits.SyncCommits());
  EXPECT_EQ(unshrinkable(), 1U);
}

}  // namespace
}  // namespace xzfs
