// The write side of one file, without a mount: each row of the table of states.
#include "fs/file_state.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

class FileStateTest : public testing::Test {
 protected:
  DescriptorPtr File() {
    return std::make_shared<SharedDescriptor>(Descriptor(Os::Real(), dup(dir_.fd())));
  }
  // Ends a writer of a plain file. Returns whether it is to be committed.
  bool EndWriter(bool was_closing = false) {
    FileLock lock(*state_);
    return state_->RemoveWriter(was_closing, /*is_compressed=*/false);
  }
  void Write() {
    FileLock lock(*state_);
    state_->AddWriter();
    state_->OpenPlain(File(), /*only_appends=*/false);
    state_->NoteChange();
  }
  bool CanCommit(CommitFor whom = CommitFor::kNobody) {
    FileLock lock(*state_);
    const bool taken = state_->TakeJob(whom) != nullptr;
    state_->DropJob();
    return taken;
  }

  const TempDir dir_;
  const std::shared_ptr<FileState> state_ = std::make_shared<FileState>();
};

TEST_F(FileStateTest, TheLastOfSeveralWritersHasTheFileCommitted) {
  Write();
  Write();
  EXPECT_FALSE(EndWriter());
  EXPECT_FALSE(CanCommit()) << "it may still be written to";
  EXPECT_TRUE(EndWriter());
  EXPECT_TRUE(CanCommit());
}

TEST_F(FileStateTest, AWriterThatChangedNothingHasNothingCommitted) {
  {
    FileLock lock(*state_);
    state_->AddWriter();
  }
  EXPECT_FALSE(EndWriter());
}

TEST_F(FileStateTest, AWriterThatEndsDuringACommitBeginsNoSecondOne) {
  Write();
  {
    FileLock lock(*state_);
    state_->NoteClosing(true);
    ASSERT_NE(state_->TakeJob(CommitFor::kCaller), nullptr);
  }
  EXPECT_FALSE(EndWriter(/*was_closing=*/true));
}

TEST_F(FileStateTest, NoCommitBeginsDuringAChange) {
  Write();
  EndWriter();
  {
    const auto change = [&] {
      FileLock lock(*state_);
      return FileChange(state_);
    }();
    EXPECT_FALSE(CanCommit());
  }
  EXPECT_TRUE(CanCommit());
}

// close returns before the kernel reports the handle's end.
TEST_F(FileStateTest, AProgramThatWaitsHasNoWriterOnceItHasClosedTheFile) {
  Write();
  {
    FileLock lock(*state_);
    state_->NoteClosing(true);
    EXPECT_TRUE(state_->is_closing());
  }
  EXPECT_FALSE(CanCommit(CommitFor::kNobody));
  EXPECT_TRUE(CanCommit(CommitFor::kCaller));
  FileLock lock(*state_);
  state_->NoteClosing(false);  // a write through another descriptor of the handle
  EXPECT_FALSE(state_->is_closing());
}

TEST_F(FileStateTest, WithOneOfTwoWritersClosingTheFileIsNotClosing) {
  Write();
  Write();
  FileLock lock(*state_);
  state_->NoteClosing(true);
  EXPECT_FALSE(state_->is_closing());
  state_->CloseAll();
  EXPECT_TRUE(state_->is_closing());
}

TEST_F(FileStateTest, NothingOfAFileWithoutANameIsCommitted) {
  Write();
  {
    FileLock lock(*state_);
    state_->LoseLastName();
  }
  EXPECT_FALSE(EndWriter());
  EXPECT_FALSE(CanCommit());
  FileLock lock(*state_);
  EXPECT_NE(state_->plain().file, nullptr) << "it is reached by that alone";
}

TEST_F(FileStateTest, ThePlainFileIsClosedWithItsLastWriter) {
  Write();
  {
    FileLock lock(*state_);
    state_->PreparePlain();
  }
  EndWriter();
  FileLock lock(*state_);
  EXPECT_EQ(state_->plain().file, nullptr);
  EXPECT_FALSE(state_->plain().is_prepared) << "another program may change its name";
}

TEST_F(FileStateTest, TheKernelsPagesMayDifferUntilTheFileIsCompressedAndHasNoWriter) {
  EXPECT_FALSE(state_->may_differ());
  Write();
  EXPECT_TRUE(state_->may_differ());
  {
    FileLock lock(*state_);
    state_->NoteClosing(true);
    ASSERT_NE(state_->TakeJob(CommitFor::kCaller), nullptr);
    state_->BecomeCompressed();
    state_->NoteCommitted();
    EXPECT_EQ(state_->job(), nullptr);
    EXPECT_FALSE(state_->changed());
  }
  EXPECT_TRUE(state_->may_differ()) << "the handle is still there";
  FileLock lock(*state_);
  EXPECT_FALSE(state_->RemoveWriter(/*was_closing=*/true, /*is_compressed=*/true));
  EXPECT_FALSE(state_->may_differ());
}

TEST_F(FileStateTest, ANewFileHasSomethingToCommitAndANameThatTheDiskMayNotKnow) {
  FileLock lock(*state_);
  state_->AddWriter();
  state_->CreatePlain(File());
  EXPECT_TRUE(state_->changed());
  EXPECT_TRUE(state_->plain().is_prepared);
  EXPECT_EQ(state_->name().changes, 1U);
}

TEST_F(FileStateTest, ASyncOfAnOlderNameDoesNotCoverALaterOne) {
  FileLock lock(*state_);
  state_->NoteNameChange();
  const uint64_t covered = state_->name().changes;
  state_->NoteNameChange();
  state_->NoteNameSynced(covered);
  EXPECT_LT(state_->name().synced_changes, state_->name().changes);
  state_->NoteNameSynced(state_->name().changes);
  state_->NoteNameSynced(covered);  // the one that took longer
  EXPECT_EQ(state_->name().synced_changes, state_->name().changes);
}

TEST_F(FileStateTest, AFailedSyncIsRememberedUntilItIsRepaired) {
  FileLock lock(*state_);
  state_->FailSync({ErrorKind::kSystem, EIO, "no"});
  ASSERT_TRUE(state_->sync_error());
  EXPECT_EQ(state_->sync_error()->code, EIO);
  state_->MendSync();
  EXPECT_FALSE(state_->sync_error());
}

TEST_F(FileStateTest, WithoutAnOverlayThereIsNothingToDetach) {
  FileLock lock(*state_);
  EXPECT_EQ(state_->DetachOverlay().overlay, nullptr);
}

TEST_F(FileStateTest, ABrokenInvariantEndsADebugBuild) {
  EXPECT_DEBUG_DEATH(
      {
        FileLock lock(*state_);
        state_->NoteClosing(true);  // of no writer
      },
      "closing <= writers_");
}

}  // namespace
}  // namespace xzfs
