// Commits that begin at the worst moment, or meet errors. A test acts just before the daemon makes
// a system call.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "commit_fixture.h"
#include "store/records.h"
#include "xzfs/byte_string.h"

namespace xzfs {
namespace {

TEST_F(CommitTest, ACommitThatBeginsDuringALinkSucceeds) {
  Edit();
  CommitBeforeNext("Link");
  EXPECT_TRUE(mount_->new_names.Link(id_, kRootNode, "link"));
  ExpectCommitted();
}

TEST_F(CommitTest, ACommitThatBeginsDuringARenameSucceeds) {
  Edit();
  CommitBeforeNext("Rename");
  EXPECT_TRUE(mount_->renames.Rename(kRootNode, "compressed", kRootNode, "moved", 0));
  ExpectCommitted();
}

TEST_F(CommitTest, AFileIsCommittedAlthoughAnotherProgramChangedItsMode) {
  Edit();
  std::filesystem::permissions(source_.path() / "compressed.xz", std::filesystem::perms::owner_all);
  EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()), 0);
  EXPECT_EQ(At(12'345, id_), 'X');
}

TEST_F(CommitTest, IfTwoMountsEditAFileTheFirstToCommitWins) {
  const auto other = MakeMount(Os::Real());
  const auto found = other->lookups.Lookup(kRootNode, "compressed");
  ASSERT_TRUE(found);
  Edit('X', 1);
  os_.BeforeNext("Rename", [&] {  // the commit has checked everything
    EditOn(*other, found->node, 'O', 2);
    EXPECT_EQ(CodeOf(other->commits.SyncCommits()), 0);
    return 0;
  });
  EXPECT_NE(CodeOf(mount_->commits.SyncCommits()), 0);
  (void)mount_->commits.SyncCommits();
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 1U) << "the changes are in lost+found";
  const auto now = mount_->lookups.Lookup(kRootNode, "compressed");
  ASSERT_TRUE(now);
  EXPECT_EQ(At(1, now->node), 'c');
  EXPECT_EQ(At(2, now->node), 'O');
  other->commits.EndCommits(Committer::Ending::kAtOnce);
}

TEST_F(CommitTest, ACommitDoesNotWaitForAFifoInThePlaceOfAFile) {
  for (const char* name : {"compressed.xz", "plain"}) {
    source_.Write("plain", "text");
    MountAgain();
    const auto plain = mount_->lookups.Lookup(kRootNode, "plain");
    ASSERT_TRUE(plain);
    id_ = std::string(name) == "plain" ? plain->node : id_;
    Edit();
    std::filesystem::remove(source_.path() / name);
    ASSERT_EQ(mkfifo((source_.path() / name).c_str(), 0600), 0);
    (void)mount_->commits.SyncCommits();
    EXPECT_EQ(mount_->engine.stats.commits_done.Get(), 0U) << name;
    std::filesystem::remove(source_.path() / name);
    source_.Write("compressed.xz", XzBuilder().AddStream("text", 10).bytes());
  }
}

// A program can do so through /proc/self/fd, or at the same time as the removal.
TEST_F(CommitTest, NothingStaysOfARemovedFileThatIsOpenedForWritingAgain) {
  auto reader = mount_->handles.Open(id_, O_RDONLY);
  ASSERT_TRUE(reader);
  ASSERT_TRUE(mount_->removals.Unlink(kRootNode, "compressed"));
  Edit();
  EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()), 0);
  EXPECT_EQ(mount_->engine.stats.commits_failed.Get(), 0U);
  mount_->handles.Close(std::move(reader->file));
  mount_->tree.Forget(id_, 1);
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  Start();
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
  EXPECT_FALSE(std::filesystem::exists(source_.path() / ".xzfs"));
}

// When a mount ends, the kernel drops its messages about closed handles and forgotten files.
TEST_F(CommitTest, AtTheEndNothingStaysOfRemovedFilesWhoseHandlesWereNeverReleased) {
  Edit();
  auto reader = mount_->handles.Open(id_, O_RDONLY);
  ASSERT_TRUE(reader);
  ASSERT_TRUE(mount_->removals.Unlink(kRootNode, "compressed"));
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  EXPECT_FALSE(std::filesystem::exists(source_.path() / ".xzfs"));
}

TEST_F(CommitTest, AtTheEndFilesAreCommittedWhoseWritersWereNeverReleased) {
  source_.Write("plain", std::string(10'000, 'p'));
  const auto plain = mount_->lookups.Lookup(kRootNode, "plain");
  ASSERT_TRUE(plain);
  auto writer = mount_->handles.Open(plain->node, O_WRONLY);
  ASSERT_TRUE(writer);
  const std::byte byte{'X'};
  ASSERT_TRUE(mount_->writes.Write(*writer->file, 1, {&byte, 1}));
  mount_->commits.EndCommits(Committer::Ending::kWhenDone);
  EXPECT_TRUE(std::filesystem::exists(source_.path() / "plain.xz"));
  EXPECT_FALSE(std::filesystem::exists(source_.path() / ".xzfs"));
}

TEST_F(CommitTest, AListingThatBeginsDuringACommitShowsTheFileOnce) {
  source_.Write("plain", std::string(10'000, 'p'));
  const auto plain = mount_->lookups.Lookup(kRootNode, "plain");
  ASSERT_TRUE(plain);
  EditOn(*mount_, plain->node, 'X', 1);
  std::vector<std::string> names;
  std::thread listing;
  os_.BeforeNext("Unlink", [&] {  // of the plain file: the compressed file has its name by then
    listing = std::thread([&] {
      const auto shown = mount_->directories.OpenListing(kRootNode);
      EXPECT_TRUE(mount_->directories.ReadDirectory(kRootNode, shown.get(), 0, ListingKind::kNames,
                                                    4096, [&](const DirectoryLine& line) {
                                                      names.push_back(line.name);
                                                      return true;
                                                    }));
    });
    EXPECT_TRUE(WaitUntilAllOthersWait());
    return 0;
  });
  EXPECT_TRUE(mount_->commits.SyncCommits());
  ASSERT_TRUE(listing.joinable());
  listing.join();
  EXPECT_EQ(std::count(names.begin(), names.end(), "plain"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "compressed"), 1);
}

// Data that was decoded before a change must not reach the kernel after the change.
TEST_F(CommitTest, DecodedDataOfTheBaseIsNotUsedFromTheFirstChangeOn) {
  std::vector<DecodedRange> decoded;
  mount_->kernel.Set({.offer = [&](std::vector<DecodedRange> ranges) {
    std::move(ranges.begin(), ranges.end(), std::back_inserter(decoded));
  }});
  EXPECT_EQ(At(12'345, id_), 'c');
  ASSERT_FALSE(decoded.empty());
  const std::function<bool()> still_good = decoded[0].still_good;
  EXPECT_TRUE(still_good());
  Edit();
  EXPECT_FALSE(still_good());
  int looks = 0;
  const std::function<int()> look = [&] {  // also while the node gets another stored file
    EXPECT_FALSE(still_good()) << "look " << looks;
    ++looks;
    os_.BeforeNext("FStat", look);
    return 0;
  };
  os_.BeforeNext("Rename", look);
  EXPECT_TRUE(mount_->commits.SyncCommits());
  os_.BeforeNext({}, nullptr);
  EXPECT_GT(looks, 2);
  EXPECT_FALSE(still_good());
}

// fallocate changes the mtime even when it fails, and an overlay recognises its base by the mtime.
TEST_F(LinkedCommitTest, AFullDiskBeforeTheOverwriteLeavesTheChangesPending) {
  Edit();
  os_.BeforeNext("Allocate", [this] {
    std::filesystem::last_write_time(source_.path() / "compressed.xz",
                                     std::filesystem::file_time_type::clock::now());
    return -ENOSPC;
  });
  EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()), ENOSPC);
  EXPECT_EQ(At(12'345, id_), 'X');
  EXPECT_TRUE(mount_->commits.SyncCommits());
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
  EXPECT_EQ(At(12'345, id_), 'X');
}

TEST_F(LinkedCommitTest, AFileThatLosesANameWhileItIsReadIsUsedUnderTheOther) {
  auto reader = mount_->handles.Open(id_, O_RDONLY);
  ASSERT_TRUE(reader);
  ASSERT_TRUE(mount_->removals.Unlink(kRootNode, "compressed"));
  mount_->handles.Close(std::move(reader->file));
  const auto link = mount_->lookups.Lookup(kRootNode, "link");
  ASSERT_TRUE(link) << link.error().message;
  EXPECT_EQ(link->node, id_);
  Edit();
  EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()),
            0);  // the file has one name, so the commit replaces the stored file
  EXPECT_EQ(At(12'345, id_), 'X');
  Edit('Y');
  EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()), 0);
  EXPECT_EQ(At(12'345, id_), 'Y');
  EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 0U);
}

// A thread has taken the file from the queue and hasn't begun yet, so nothing could cancel the
// commit.
TEST_F(CommitTest, ACommitThatHasJustBegunIsParked) {
  Edit();
  os_.BeforeNext("Rename", [this] {
    commit_ = std::thread([this] { committed_ = mount_->commits.SyncCommits(); });
    EXPECT_TRUE(WaitUntilAllOthersWait());
    mount_->commits.ParkCommits();
    return 0;
  });
  EXPECT_TRUE(mount_->renames.Rename(kRootNode, "compressed", kRootNode, "moved", 0));
  mount_->commits.EndCommits(Committer::Ending::kAtOnce);
  commit_.join();
  EXPECT_FALSE(committed_) << "the waiting program learns that the next mount commits it";
  EXPECT_EQ(mount_->engine.stats.commits_done.Get(), 0U);
  EXPECT_EQ(mount_->engine.stats.blocks_encoded.Get(), 0U);
  EXPECT_EQ(mount_->committer.figures().pending, 1U);
}

TEST_F(CommitTest, AFileWhoseSyncFailedIsWrittenAgainWhenNoProgramHasItOpen) {
  auto file = mount_->handles.Open(id_, O_RDWR);
  ASSERT_TRUE(file);
  ASSERT_TRUE(mount_->writes.Write(*file->file, 12'345, BytesOf("X")));
  os_.BeforeNext("Sync", [] { return -ENOTCONN; });
  EXPECT_EQ(CodeOf(mount_->syncs.Sync(file->file->id(), SyncScope::kAll)), ENOTCONN);
  EXPECT_EQ(CodeOf(mount_->syncs.Sync(file->file->id(), SyncScope::kAll)), ENOTCONN)
      << "every later sync of the open file fails, too";
  EXPECT_EQ(mount_->engine.stats.syncs_failed.Get(), 1U);
  (void)mount_->commits.SyncCommits();
  EXPECT_EQ(mount_->engine.stats.commits_done.Get(), 0U) << "nothing rests on it";
  mount_->handles.Close(std::move(file->file));
  EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()), 0);
  EXPECT_EQ(mount_->engine.stats.commits_done.Get(), 1U);
  EXPECT_EQ(At(12'345, id_), 'X');
  file = mount_->handles.Open(id_, O_RDWR);
  ASSERT_TRUE(file);
  EXPECT_EQ(CodeOf(mount_->syncs.Sync(file->file->id(), SyncScope::kAll)), 0);
  mount_->handles.Close(std::move(file->file));
}

// The note about the removal is withdrawn: if another program removes the file later, its changes
// are kept.
TEST_F(CommitTest, AfterARefusedRemovalTheFileDoesNotCountAsRemoved) {
  source_.Write("plain", "plain\n");
  const auto refuse = [this](const char* call, const char* name) {
    return [this, call, name] {
      os_.BeforeNext(
          call, [] { return -EPERM; }, name);
    };
  };
  struct Removal {
    std::function<void()> prepare;
    std::function<Status()> run;
    int code;
  };
  const auto over = [this](const char* name) {
    return [this, name] {
      return mount_->renames.Rename(kRootNode, name, kRootNode, "compressed", 0);
    };
  };
  const Removal removals[] = {
      {refuse("Unlink", "compressed.xz"),
       [this] { return mount_->removals.Unlink(kRootNode, "compressed"); }, EPERM},
      {refuse("Rename", "compressed"), over("plain"), EPERM},
      {[] {}, over("nothing"), ENOENT},
  };
  for (const Removal& removal : removals) {
    SCOPED_TRACE(&removal - removals);
    Edit();
    removal.prepare();
    EXPECT_EQ(CodeOf(removal.run()), removal.code);
    os_.Die();
    mount_->commits.EndCommits(Committer::Ending::kAtOnce);
    mount_ = nullptr;
    os_.Revive();
    std::filesystem::remove(source_.path() / "compressed.xz");
    Start();
    EXPECT_EQ(mount_->engine.stats.overlays_lost.Get(), 1U);
    mount_ = nullptr;
    SetUp();
  }
}

TEST_F(CommitTest, APlainFileWhoseSyncFailedIsCommittedWhenNoProgramHasItOpen) {
  source_.Write("plain", std::string(10'000, 'p'));
  const auto plain = mount_->lookups.Lookup(kRootNode, "plain");
  ASSERT_TRUE(plain);
  auto file = mount_->handles.Open(plain->node, O_RDWR);
  ASSERT_TRUE(file);
  ASSERT_TRUE(mount_->writes.Write(*file->file, 0, BytesOf("X")));
  os_.BeforeNext("Sync", [] { return -ENOTCONN; });
  EXPECT_EQ(CodeOf(mount_->syncs.Sync(file->file->id(), SyncScope::kAll)), ENOTCONN);
  EXPECT_EQ(CodeOf(mount_->syncs.Sync(file->file->id(), SyncScope::kAll)), ENOTCONN);
  mount_->handles.Close(std::move(file->file));
  EXPECT_EQ(CodeOf(mount_->commits.SyncCommits()), 0);
  EXPECT_EQ(mount_->engine.stats.commits_done.Get(), 1U);
  EXPECT_EQ(At(0, plain->node), 'X');
}

}  // namespace
}  // namespace xzfs
