// Another program replaces a file at the last moment, or a commit is cut off: xzfs only removes
// files that one of its records describes.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "commit_fixture.h"

namespace xzfs {
namespace {

const std::string kTheirs = "not what xzfs has made";

class PutAsideTest : public CommitTest {
 protected:
  std::string Content(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  // Does what a program does that writes a new file and renames it.
  void ReplaceBase() {
    source_.Write("new", kTheirs);
    std::filesystem::rename(source_.path() / "new", source_.path() / "compressed.xz");
  }

  // A commit has checked the base, and is about to exchange its file and the base. Just then
  // another program replaces the base. `before_undo` is called just before the commit undoes the
  // exchange.
  void CommitWithAnother(const std::function<int()>& before_undo) {
    Edit();
    os_.BeforeNext("Rename",
                   [this, before_undo] {  // the commit's file gets its name in the session
                     ReplaceBase();
                     os_.BeforeNext("Rename", [this, before_undo] {  // the exchange
                       os_.BeforeNext("Rename", before_undo);        // back
                       return 0;
                     });
                     return 0;
                   });
    EXPECT_FALSE(mount_->commits.SyncCommits());
  }

  // The files in the sessions and in lost+found with names that end in `suffix`.
  std::vector<std::filesystem::path> Private(const std::string& suffix) {
    std::vector<std::filesystem::path> found;
    const auto home = source_.path() / ".xzfs";
    if (std::filesystem::exists(home)) {
      for (const auto& item : std::filesystem::recursive_directory_iterator(home)) {
        if (item.path().string().ends_with(suffix)) {
          found.push_back(item.path());
        }
      }
    }
    return found;
  }

  void Restart() {
    mount_->commits.EndCommits(Committer::Ending::kAtOnce);
    mount_ = nullptr;
    os_.Revive();
    os_.BeforeNext({}, nullptr);
    Start();
  }
};

TEST_F(PutAsideTest, AFileThatReplacedTheBaseAtTheLastMomentGetsItsNameBack) {
  CommitWithAnother([] { return 0; });
  EXPECT_EQ(Content(source_.path() / "compressed.xz"), kTheirs);
  EXPECT_TRUE(Private(".aside").empty());
}

TEST_F(PutAsideTest, AfterAKillBetweenTheExchangeAndItsUndoTheOthersFileIsThere) {
  CommitWithAnother([this] {
    os_.Die();
    return -EIO;
  });
  ASSERT_EQ(Private(".aside").size(), 1U);
  EXPECT_EQ(Content(Private(".aside").front()), kTheirs) << "as a kill leaves it";
  Restart();
  EXPECT_EQ(Content(source_.path() / "compressed.xz"), kTheirs);
  EXPECT_TRUE(Private(".aside").empty());
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 1U) << "the changes have no base";
}

TEST_F(PutAsideTest, AnUndoThatFailsIsDoneByTheNextMount) {
  CommitWithAnother([] { return -EIO; });
  // It failed once, as after a kill; the process lives on and must not remove the file.
  Restart();
  const bool is_back = Content(source_.path() / "compressed.xz") == kTheirs;
  const auto kept = Private(".aside");
  EXPECT_TRUE(is_back || (kept.size() == 1 && Content(kept.front()) == kTheirs));
}

TEST_F(PutAsideTest, TheOthersFileIsKeptIfItsNameIsTakenAgain) {
  CommitWithAnother([this] {
    os_.Die();
    return -EIO;
  });
  std::filesystem::remove(source_.path() / "compressed.xz");
  source_.Write("compressed.xz", "a third one");
  Restart();
  EXPECT_EQ(Content(source_.path() / "compressed.xz"), "a third one");
  const auto kept = Private(".aside");
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept.front().parent_path().filename(), "lost+found");
  EXPECT_EQ(Content(kept.front()), kTheirs);
  ASSERT_EQ(Private(".aside.note").size(), 1U);
  EXPECT_NE(Content(Private(".aside.note").front()).find("compressed.xz"), std::string::npos);
}

TEST_F(PutAsideTest, TheOthersFileGetsItsNameIfThatIsFree) {
  CommitWithAnother([this] {
    os_.Die();
    return -EIO;
  });
  std::filesystem::remove(source_.path() / "compressed.xz");
  Restart();
  EXPECT_EQ(Content(source_.path() / "compressed.xz"), kTheirs);
}

// The commit can't look at the file that the exchange brought back, once.
TEST_F(PutAsideTest, ACommitIsDoneAlthoughItsLastLookFailed) {
  Edit();
  os_.BeforeNext("Rename", [this] {
    os_.BeforeNext("Rename", [this] {
      os_.BeforeNext("FactsAt", [] { return -EIO; });
      return 0;
    });
    return 0;
  });
  EXPECT_TRUE(mount_->commits.SyncCommits());
  EXPECT_EQ(At(12'345, id_), 'X');
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  MountAgain();
  EXPECT_EQ(At(12'345, id_), 'X');
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
}

TEST_F(PutAsideTest, AfterAKillBehindTheExchangeTheCommitIsDoneAndTheOldBaseIsGone) {
  Edit();
  os_.BeforeNext("Rename", [this] {
    os_.BeforeNext("Rename", [this] {
      os_.BeforeNext("Sync", [this] {  // of the directory
        os_.Die();
        return -EIO;
      });
      return 0;
    });
    return 0;
  });
  (void)mount_->commits.SyncCommits();
  EXPECT_EQ(Private(".aside").size(), 1U);
  Restart();
  EXPECT_TRUE(Private(".aside").empty());
  const auto found = mount_->lookups.Lookup(kRootNode, "compressed");
  ASSERT_TRUE(found);
  EXPECT_EQ(At(12'345, found->node), 'X');
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
}

TEST_F(PutAsideTest, AFileInASessionThatNoRecordNamesIsKept) {
  source_.Write(".xzfs/dead/7.aside", kTheirs);
  source_.Write(".xzfs/dead/8.tmp", "half a file");
  Restart();
  const auto kept = Private(".aside");
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(Content(kept.front()), kTheirs);
  EXPECT_TRUE(Private(".tmp").empty());
}

TEST_F(PutAsideTest, APlainFileWhoseTwinCouldNotBeRemovedIsOneFileUntilItCan) {
  source_.Write("plain", std::string(10'000, 'p'));
  const auto plain = mount_->lookups.Lookup(kRootNode, "plain");
  ASSERT_TRUE(plain);
  EditOn(*mount_, plain->node, 'X', 1);
  os_.BeforeNext(
      "Unlink",
      [this] {
        os_.Die();
        return -EIO;
      },
      "plain");
  EXPECT_FALSE(mount_->commits.SyncCommits());
  EXPECT_TRUE(std::filesystem::exists(source_.path() / "plain.xz"));
  os_.Revive();
  EXPECT_EQ(CodeOf(mount_->lookups.Lookup(kRootNode, "plain.xz")), ENOENT);
  EXPECT_TRUE(mount_->renames.Rename(kRootNode, "plain", kRootNode, "moved", 0));
  EXPECT_FALSE(std::filesystem::exists(source_.path() / "plain.xz"));
  EXPECT_EQ(CodeOf(mount_->lookups.Lookup(kRootNode, "plain")), ENOENT);
}

class HalfOverwrittenTest : public CommitTest {
 protected:
  void SetUp() override {
    source_.Write("d/e/compressed.xz",
                  XzBuilder().AddStream(std::string(50'000, 'c'), 10'000).bytes());
    source_.MakeDir("z");
    std::filesystem::create_hard_link(source_.path() / "d/e/compressed.xz",
                                      source_.path() / "z/link.xz");
    CommitTest::SetUp();
    id_ = Find("d", "e", "compressed");
    Edit();
    os_.BeforeNext("Allocate", [this] {
      os_.BeforeNext("CopyRange", [] { return -EIO; });
      return 0;
    });
    EXPECT_FALSE(mount_->commits.SyncCommits());
    os_.Die();
    mount_->commits.EndCommits(Committer::Ending::kAtOnce);
    mount_ = nullptr;
    os_.Revive();
  }

  NodeId Find(const std::string& a, const std::string& b, const std::string& name) {
    NodeId at = kRootNode;
    for (const std::string& part : {a, b, name}) {
      const auto found = part.empty() ? Result<LookupResult>(LookupResult{.node = at})
                                      : mount_->lookups.Lookup(at, part);
      EXPECT_TRUE(found) << part;
      at = found ? found->node : 0;
    }
    return at;
  }
};

TEST_F(HalfOverwrittenTest, TheOverwriteIsCompletedThoughADirectoryAboveWasRenamed) {
  std::filesystem::rename(source_.path() / "d", source_.path() / "moved");
  Start();
  EXPECT_EQ(At(12'345, Find("moved", "e", "compressed")), 'X');
  EXPECT_EQ(At(12'345, Find("", "z", "link")), 'X');
}

TEST_F(HalfOverwrittenTest, TheOverwriteIsCompletedUnderTheNameThatIsLeft) {
  std::filesystem::remove(source_.path() / "d/e/compressed.xz");
  source_.Write("d/e/compressed.xz", kTheirs);
  Start();
  EXPECT_EQ(At(12'345, Find("", "z", "link")), 'X');
  std::ifstream file(source_.path() / "d/e/compressed.xz");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), kTheirs);
}

TEST_F(HalfOverwrittenTest, TheNewContentOfARemovedFileIsKept) {
  std::filesystem::remove_all(source_.path() / "d");
  std::filesystem::remove_all(source_.path() / "z");
  Start();
  size_t kept = 0;
  for (const auto& item :
       std::filesystem::directory_iterator(source_.path() / ".xzfs/lost+found")) {
    kept += item.path().string().ends_with(".tmp") ? 1 : 0;
  }
  EXPECT_EQ(kept, 1U);
  // The next mounts do not report it again.
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  mount_ = nullptr;
  Start();
  for (const auto& item : std::filesystem::recursive_directory_iterator(source_.path() / ".xzfs")) {
    EXPECT_FALSE(item.path().string().ends_with(".intent")) << item.path();
  }
}

}  // namespace
}  // namespace xzfs
