// A commit overwrites a base with several names while programs use the file.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "commit_fixture.h"

namespace xzfs {
namespace {

constexpr uint64_t kEdited = 12'345;
constexpr uint64_t kElsewhere = 44'444;

// What a program does in the middle of the overwrite.
enum class Act {
  kNothing,
  kRead,
  kEdit,
  kEditSameByte,
  kTouch,
  kTruncate,
  kRename,
  kUnlink,
  kLink,
  kChmod
};
// What happens to the commit at that moment.
enum class End { kGoesOn, kIsKilled };

struct Moment {
  const char* call;  // before which it is done
  Act act;
  End end;
};

const char* NameOf(Act act) {
  constexpr const char* kNames[] = {"Nothing", "Read",     "Edit",   "EditOfTheSameByte",
                                    "Touch",   "Truncate", "Rename", "Unlink",
                                    "Link",    "Chmod"};
  return kNames[static_cast<int>(act)];
}

class BaseOverwriteTest : public LinkedCommitTest, public testing::WithParamInterface<Moment> {
 protected:
  static constexpr struct timespec kTouched = {1'500'000'000, 123'000'000};

  // The first call at which the base may be half new is `Allocate`.
  void InTheMidst(std::function<void()> act) {
    const std::string call = GetParam().call;
    const auto run = [act = std::move(act)] {
      act();
      return 0;
    };
    if (call == "Allocate") {
      os_.BeforeNext("Allocate", run);
      return;
    }
    os_.BeforeNext("Allocate", [this, call = GetParam().call, run] {
      os_.BeforeNext(call, run);
      return 0;
    });
  }

  void DoAct() {
    switch (GetParam().act) {
      case Act::kNothing:
        break;
      case Act::kRead:
        ExpectContent();
        break;
      case Act::kEdit:
        Edit('Y', kElsewhere);
        elsewhere_ = 'Y';
        break;
      case Act::kEditSameByte:
        Edit('Z');
        edited_ = 'Z';
        break;
      case Act::kTouch: {
        AttributeChange change;
        change.mtime = kTouched;
        EXPECT_TRUE(mount_->writes.SetAttributes(id_, change, nullptr));
        is_touched_ = true;
        break;
      }
      case Act::kTruncate: {
        AttributeChange change;
        change.size = size_ = 20'000;
        EXPECT_TRUE(mount_->writes.SetAttributes(id_, change, nullptr));
        break;
      }
      case Act::kRename:
        EXPECT_TRUE(mount_->renames.Rename(kRootNode, "compressed", kRootNode, "moved", 0));
        names_ = {"moved", "link"};
        break;
      case Act::kUnlink:
        EXPECT_TRUE(mount_->removals.Unlink(kRootNode, "compressed"));
        names_ = {"link"};
        break;
      case Act::kLink:
        EXPECT_TRUE(mount_->new_names.Link(id_, kRootNode, "third"));
        names_ = {"compressed", "link", "third"};
        break;
      case Act::kChmod: {
        AttributeChange change;
        change.mode = mode_ = 0640;
        EXPECT_TRUE(mount_->writes.SetAttributes(id_, change, nullptr));
        break;
      }
    }
    ExpectContent();
  }

  // The files in which sessions keep unfinished work.
  std::vector<std::string> Leftovers() {
    std::vector<std::string> found;
    const auto home = source_.path() / ".xzfs";
    if (std::filesystem::exists(home)) {
      for (const auto& item : std::filesystem::recursive_directory_iterator(home)) {
        const std::string extension = item.path().extension();
        if (extension == ".intent" || extension == ".tmp" || extension == ".log") {
          found.push_back(item.path());
        }
      }
    }
    return found;
  }

  // Checks through each name the bytes, the size, the mode and the time.
  void ExpectContent() {
    for (const std::string& name : names_) {
      const auto found = mount_->lookups.Lookup(kRootNode, name);
      ASSERT_TRUE(found) << name << ": " << found.error().message;
      EXPECT_EQ(found->attributes.st_size, size_) << name;
      EXPECT_EQ(At(kEdited, found->node), edited_) << name;
      EXPECT_EQ(At(kEdited + 1, found->node), 'c') << name;
      if (size_ > static_cast<off_t>(kElsewhere)) {
        EXPECT_EQ(At(kElsewhere, found->node), elsewhere_) << name;
      }
      if (mode_ != 0) {
        EXPECT_EQ(found->attributes.st_mode & 07777, mode_) << name;
      }
      if (is_touched_) {
        EXPECT_EQ(found->attributes.st_mtim.tv_sec, kTouched.tv_sec) << name;
        EXPECT_EQ(found->attributes.st_mtim.tv_nsec, kTouched.tv_nsec) << name;
      }
      mount_->tree.Forget(found->node, 1);
    }
  }

  std::vector<std::string> names_{"compressed", "link"};
  char edited_ = 'X';
  char elsewhere_ = 'c';
  off_t size_ = 50'000;
  mode_t mode_ = 0;
  bool is_touched_ = false;
};

TEST_P(BaseOverwriteTest, TheFileWorksAsAlwaysAndNothingIsLost) {
  Edit();
  bool was_reached = false;
  InTheMidst([&] {
    was_reached = true;
    DoAct();
    if (GetParam().end == End::kIsKilled) {
      os_.Die();
    }
  });
  const Status synced = mount_->commits.SyncCommits();
  ASSERT_TRUE(was_reached);
  if (GetParam().end == End::kGoesOn) {
    EXPECT_TRUE(synced) << synced.error().message;
    ExpectContent();
    EXPECT_TRUE(mount_->commits.SyncCommits());
    ExpectContent();
    mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  } else {
    mount_->commits.EndCommits(Committer::Ending::kAtOnce);
  }
  mount_ = nullptr;
  os_.Revive();
  Start();
  ExpectContent();
  EXPECT_TRUE(mount_->commits.SyncCommits());
  ExpectContent();
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
  struct stat one = {};
  struct stat other = {};
  ASSERT_EQ(stat((source_.path() / (names_.front() + ".xz")).c_str(), &one), 0);
  ASSERT_EQ(stat((source_.path() / (names_.back() + ".xz")).c_str(), &other), 0);
  EXPECT_EQ(one.st_ino, other.st_ino) << "it is one file under all its names";
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  Start();  // which completes what an earlier one has left
  for (const std::string& path : Leftovers()) {
    ADD_FAILURE() << path;
  }
}

std::vector<Moment> AllMoments() {
  std::vector<Moment> all;
  for (const char* call : {"Allocate", "CopyRange", "Truncate", "FSetTimes", "Sync", "Unlink"}) {
    for (int act = 0; act <= static_cast<int>(Act::kChmod); ++act) {
      for (const End end : {End::kGoesOn, End::kIsKilled}) {
        all.push_back({call, static_cast<Act>(act), end});
      }
    }
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Moments, BaseOverwriteTest, testing::ValuesIn(AllMoments()),
                         [](const auto& info) {
                           return std::string(NameOf(info.param.act)) + "Before" + info.param.call +
                                  (info.param.end == End::kGoesOn ? "" : "AndIsKilled");
                         });

TEST_F(LinkedCommitTest, AFileThatLosesAllItsNamesWhileItIsOverwrittenIsReadToItsEnd) {
  Edit();
  auto file = mount_->handles.Open(id_, O_RDONLY);
  ASSERT_TRUE(file) << file.error().message;
  bool was_reached = false;
  os_.BeforeNext("CopyRange", [&] {
    was_reached = true;
    EXPECT_TRUE(mount_->removals.Unlink(kRootNode, "compressed"));
    EXPECT_TRUE(mount_->removals.Unlink(kRootNode, "link"));
    EXPECT_EQ(At(kEdited, id_), 'X');
    return 0;
  });
  EXPECT_TRUE(mount_->commits.SyncCommits());
  ASSERT_TRUE(was_reached);
  EXPECT_EQ(At(kEdited, id_), 'X');
  EXPECT_EQ(At(kElsewhere, id_), 'c');
  mount_->handles.Close(std::move(file->file));
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  Start();
  EXPECT_EQ(CodeOf(mount_->lookups.Lookup(kRootNode, "compressed")), ENOENT);
  EXPECT_EQ(CodeOf(mount_->lookups.Lookup(kRootNode, "link")), ENOENT);
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
}

class HalfNewTest : public LinkedCommitTest {
 protected:
  void FailHalfWay() {
    Edit();
    os_.BeforeNext("Allocate", [this] {
      os_.BeforeNext("CopyRange", [] { return -EIO; });
      return 0;
    });
    EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()), EIO);
  }
};

TEST_F(HalfNewTest, AHalfOverwrittenFileIsReadAndChangedAndCommittedLater) {
  FailHalfWay();
  EXPECT_EQ(At(kEdited, id_), 'X');
  EXPECT_EQ(At(kElsewhere, id_), 'c');
  Edit('Y', kElsewhere);
  EXPECT_EQ(At(kElsewhere, mount_->lookups.Lookup(kRootNode, "link")->node), 'Y');
  EXPECT_TRUE(mount_->commits.SyncCommits());
  EXPECT_EQ(At(kEdited, id_), 'X');
  EXPECT_EQ(At(kElsewhere, id_), 'Y');
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  MountAgain();
  EXPECT_EQ(At(kElsewhere, id_), 'Y');
}

// The next mount would undo changes that this one accepts.
TEST_F(HalfNewTest, AMountThatCannotCompleteTheOverwriteAcceptsNoChanges) {
  FailHalfWay();
  os_.Die();
  mount_->commits.EndCommits(Committer::Ending::kAtOnce);
  mount_ = nullptr;
  os_.Revive();
  os_.BeforeNext("CopyRange", [] { return -EIO; });
  Start();
  EXPECT_EQ(CodeOf(mount_->lookups.Lookup(kRootNode, "compressed")), EIO);
  EXPECT_EQ(CodeOf(mount_->lookups.Lookup(kRootNode, "link")), EIO);
  MountAgain();
  EXPECT_EQ(At(kEdited, id_), 'X');
  EXPECT_EQ(At(kEdited + 1, id_), 'c');
  Edit('Y');
  EXPECT_TRUE(mount_->commits.SyncCommits());
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  MountAgain();
  EXPECT_EQ(At(kEdited, id_), 'Y');
}

}  // namespace
}  // namespace xzfs
