#include "unit/store/overlay_test.h"

namespace xzfs {
namespace {

TEST_F(OverlayTest, IsTheBaseUntilItIsChanged) {
  const auto overlay = Make();
  ExpectIs(*overlay, base_.content());
  EXPECT_TRUE(overlay->IsBase(0, 200));
  const struct stat st = *overlay->Stat();
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  EXPECT_EQ(st.st_mtim.tv_sec, kTimes[1].tv_sec);
  EXPECT_EQ(st.st_mtim.tv_nsec, kTimes[1].tv_nsec);
  EXPECT_EQ(st.st_atim.tv_sec, kTimes[0].tv_sec);
}

TEST_F(OverlayTest, LoadingKeepsTheTimesAndTheNotes) {
  const LogPublishing as = {.inode = 1, .size_bytes = 2, .mtime_ns = 3};
  {
    const auto overlay = Make();
    ASSERT_TRUE(overlay->Write(10, BytesOf("changed")));
    EXPECT_FALSE(overlay->notes().dropped);
    EXPECT_FALSE(overlay->notes().published_as);
    ASSERT_TRUE(overlay->NotePath("elsewhere"));
    ASSERT_TRUE(overlay->NoteDropped());
    ASSERT_TRUE(overlay->NotePublishing(as));
    ASSERT_TRUE(overlay->SetTimes(kTimes));
  }
  for (const char* boot : {"boot", "boot", "another"}) {
    const auto overlay = Load(boot);
    EXPECT_EQ(overlay->Stat()->st_mtim.tv_nsec, kTimes[1].tv_nsec) << boot;
    EXPECT_EQ(overlay->base().path, "elsewhere");
    EXPECT_EQ(overlay->base().inode, 5U);
    EXPECT_EQ(overlay->base().mtime_ns, -3);
    EXPECT_EQ(overlay->base().plain_size, 200U);
    EXPECT_TRUE(overlay->notes().dropped);
    ASSERT_TRUE(overlay->notes().published_as);
    EXPECT_EQ(overlay->notes().published_as->mtime_ns, as.mtime_ns);
  }
}

TEST_F(OverlayTest, AnyChangesReadAsOnAPlainFileAndAfterReloading) {
  for (unsigned seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const TempDir dir;
    FaultyOs os;
    os.WriteAtMost(seed % 3 == 0 ? 7 : SIZE_MAX);  // short writes are no errors
    auto overlay = *Overlay::Create(os, dir.fd(), "1", BaseOf(), "boot", kTimes);
    std::string model = base_.content();
    for (int i = 0; i < 40; ++i) {
      const Change change = RandomChange(random);
      ASSERT_TRUE(Apply(change, *overlay));
      Apply(change, model);
      ASSERT_NO_FATAL_FAILURE(ExpectIs(*overlay, model));
      for (size_t at = 0; at < 200; at += 10) {
        if (overlay->IsBase(at, at + 10)) {
          EXPECT_EQ(model.substr(at, 10), base_.content().substr(at, 10));
        }
      }
      if (random() % 2 == 0) {
        overlay.reset();
        overlay = LoadFrom(dir.fd(), "boot", os);
        ASSERT_NO_FATAL_FAILURE(ExpectIs(*overlay, model));
      }
    }
    ASSERT_TRUE(overlay->Sync(SyncScope::kOnlyData));
    overlay.reset();
    ASSERT_NO_FATAL_FAILURE(ExpectIs(*LoadFrom(dir.fd(), "another boot"), model));
  }
}

TEST_F(OverlayTest, AnAppendGoesToThePresentEnd) {
  const TempDir dir;
  auto overlay = *Overlay::Create(Os::Real(), dir.fd(), "1", BaseOf(), "boot", kTimes);
  const uint64_t size = overlay->size();
  EXPECT_EQ(*overlay->Append(BytesOf("ab")), size);
  EXPECT_EQ(*overlay->Append(BytesOf("c")), size + 2);
  ASSERT_TRUE(overlay->Truncate(1));
  EXPECT_EQ(*overlay->Append(BytesOf("d")), 1U);
  EXPECT_EQ(overlay->size(), 2U);
}

TEST_F(OverlayTest, TruncatedBytesReadAsZerosWhenTheFileGrows) {
  auto overlay = Make();
  ASSERT_TRUE(overlay->Write(20, BytesOf("overlay")));
  ASSERT_TRUE(overlay->Truncate(10));
  ASSERT_TRUE(overlay->Truncate(100));
  ASSERT_TRUE(overlay->Write(150, BytesOf("x")));
  const std::string model = base_.content().substr(0, 10) + std::string(140, '\0') + "x";
  ExpectIs(*overlay, model);
  EXPECT_TRUE(overlay->IsBase(0, 10));
  EXPECT_FALSE(overlay->IsBase(0, 11));
  EXPECT_FALSE(overlay->IsBase(50, 60));
  overlay.reset();
  ExpectIs(*Load(), model);
}

TEST_F(OverlayTest, TheBaseIsNotReadWhereItWasOverwritten) {
  const auto overlay = Make();
  ASSERT_TRUE(overlay->Write(50, BytesOf(std::string(50, 'x'))));
  ASSERT_TRUE(overlay->Zero(100, 50));
  ASSERT_TRUE(overlay->Truncate(180));
  ASSERT_TRUE(overlay->Truncate(300));
  ContentOf(*overlay);
  EXPECT_EQ(base_.accesses(), (std::vector<MemFile::Access>{{0, 50}, {150, 30}}));
  EXPECT_TRUE(overlay->IsBase(150, 180));
  EXPECT_FALSE(overlay->IsBase(49, 51));
  EXPECT_FALSE(overlay->IsBase(140, 151));
}

TEST_F(OverlayTest, AFailureOfTheBaseIsReported) {
  const auto overlay = Make();
  base_.FailAfter(0, ESTALE);
  std::string out(10, '\0');
  const auto got = overlay->ReadAt(base_, 0, std::as_writable_bytes(std::span(out)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ESTALE);
}

TEST_F(OverlayTest, HugeOffsetsCostNoSpace) {
  constexpr uint64_t kHuge = uint64_t{1} << 40;
  auto overlay = Make();
  ASSERT_TRUE(overlay->Write(kHuge, BytesOf("far")));
  ASSERT_TRUE(overlay->Zero(0, kHuge));
  overlay.reset();
  overlay = Load();
  EXPECT_EQ(overlay->size(), kHuge + 3);
  EXPECT_LT(overlay->Stat()->st_blocks, 2048);
  std::string out(10, '?');
  EXPECT_EQ(overlay->ReadAt(base_, kHuge - 2, std::as_writable_bytes(std::span(out))), size_t{5});
  EXPECT_EQ(out, std::string("\0\0far?????", 10));
  EXPECT_EQ(overlay->ReadAt(base_, kHuge + 3, std::as_writable_bytes(std::span(out))), size_t{0});
}

TEST_F(OverlayTest, OffsetsBeyondAnyFileAreRefused) {
  const auto overlay = Make();
  for (const uint64_t offset : {uint64_t{INT64_MAX}, uint64_t{INT64_MAX} + 1, UINT64_MAX}) {
    EXPECT_EQ(overlay->Write(offset, BytesOf("xy")).error().code, EFBIG);
    EXPECT_TRUE(overlay->Zero(offset, UINT64_MAX));
  }
  EXPECT_EQ(overlay->Truncate(uint64_t{1} << 63).error().code, EFBIG);
  EXPECT_TRUE(overlay->Zero(190, UINT64_MAX));
  ExpectIs(*overlay, base_.content().substr(0, 190) + std::string(10, '\0'));
}

TEST_F(OverlayTest, ZeroWritesZerosWhereHolesCannotBe) {
  PickyOs os;
  os.call = "Allocate";
  os.error = EOPNOTSUPP;
  const auto overlay = Make(os);
  ASSERT_TRUE(overlay->Write(0, BytesOf(std::string(100, 'x'))));
  ASSERT_TRUE(overlay->Zero(50, 100));
  ExpectIs(*overlay, std::string(50, 'x') + std::string(100, '\0') + base_.content().substr(150));
}

TEST_F(OverlayTest, AnExistingOverlayIsNotMadeAgain) {
  {
    const auto overlay = Make();
    ASSERT_TRUE(overlay->Write(0, BytesOf("kept")));
  }
  EXPECT_FALSE(Overlay::Create(Os::Real(), dir_.fd(), "1", BaseOf(), "boot", kTimes));
  EXPECT_EQ(ContentOf(*Load()).substr(0, 4), "kept");
}

TEST_F(OverlayTest, AnOverlayThatCouldNotBeMadeLeavesNothing) {
  for (int k = 0;; ++k) {
    FaultyOs os;
    os.FailAt(k, ENOSPC, FaultyOs::Fault::kOnce);
    const auto made = Overlay::Create(os, dir_.fd(), "1", BaseOf(), "boot", kTimes);
    if (!os.fired()) {
      EXPECT_GE(k, 6);
      break;
    }
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, ENOSPC);
    EXPECT_TRUE(std::filesystem::is_empty(dir_.path())) << k;
  }
}

TEST_F(OverlayTest, ARemovedOverlayCanStillBeRead) {
  const auto overlay = Make();
  ASSERT_TRUE(overlay->Write(0, BytesOf("still")));
  ASSERT_TRUE(overlay->Remove());
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  EXPECT_EQ(ContentOf(*overlay).substr(0, 5), "still");
}

// Data without a log does not count, so a removal can be cut off anywhere.
TEST_F(OverlayTest, RemovingTakesTheLogFirst) {
  FaultyOs os;
  const auto overlay = Make(os);
  os.FailAt(1, EIO, FaultyOs::Fault::kCrash);
  EXPECT_FALSE(overlay->Remove());
  EXPECT_FALSE(std::filesystem::exists(dir_ / "1.log"));
  const auto loaded = Overlay::Load(Os::Real(), dir_.fd(), "1", "boot");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind, ErrorKind::kDamaged);
}

TEST_F(OverlayTest, ATornLogIsTheStateBeforeOrAfter) {
  for (unsigned seed = 0; seed < 5; ++seed) {
    std::mt19937 random(seed);
    const TempDir dir;
    auto overlay = *Overlay::Create(Os::Real(), dir.fd(), "1", BaseOf(), "boot", kTimes);
    std::string before = base_.content();
    uintmax_t log_before = std::filesystem::file_size(dir / "1.log");
    for (int i = 0; i < 15; ++i) {
      const Change change = RandomChange(random);
      std::string after = before;
      Apply(change, after);
      ASSERT_TRUE(Apply(change, *overlay));
      const uintmax_t log_after = std::filesystem::file_size(dir / "1.log");
      for (uintmax_t length = log_before; length < log_after; ++length) {
        for (const int zeros : {0, 100}) {
          const TempDir copy;
          std::filesystem::copy(dir.path(), copy.path());
          std::filesystem::resize_file(copy / "1.log", length);
          std::filesystem::resize_file(copy / "1.log", length + static_cast<uintmax_t>(zeros));
          auto torn = LoadFrom(copy.fd());
          std::string now = ContentOf(*torn);
          ASSERT_NO_FATAL_FAILURE(ExpectBetween(now, before, after));
          const Change next = RandomChange(random);  // is written where the torn record was
          ASSERT_TRUE(Apply(next, *torn));
          Apply(next, now);
          torn.reset();
          ASSERT_NO_FATAL_FAILURE(ExpectIs(*LoadFrom(copy.fd()), now));
        }
      }
      before = after;
      log_before = log_after;
    }
  }
}

TEST_F(OverlayTest, RecordsAfterADamagedOneDoNotReappear) {
  {
    const auto overlay = Make();
    const uint64_t begin = LogSize();
    ASSERT_TRUE(overlay->Write(0, BytesOf("1")));
    ASSERT_TRUE(overlay->Write(10, BytesOf("2")));
    std::fstream log(dir_ / "1.log");
    log.seekp(static_cast<std::streamoff>(begin) + 10).put('?');
  }
  auto overlay = Load();
  ExpectIs(*overlay, base_.content());
  ASSERT_TRUE(overlay->Write(20, BytesOf("3")));  // a record as long as the damaged one
  const std::string model = ContentOf(*overlay);
  overlay.reset();
  ExpectIs(*Load(), model);
}

TEST_F(OverlayTest, InAnotherBootOnlySyncedChangesCount) {
  std::string synced;
  {
    const auto overlay = Make();
    ASSERT_TRUE(overlay->Write(0, BytesOf("synced")));
    ASSERT_TRUE(overlay->Sync(SyncScope::kOnlyData));
    synced = ContentOf(*overlay);
    ASSERT_TRUE(overlay->Write(50, BytesOf("not synced")));
    ASSERT_TRUE(overlay->Write(300, BytesOf("not synced")));
  }
  auto overlay = Load("boot 2");
  ExpectIs(*overlay, synced);
  EXPECT_TRUE(overlay->notes().lost_changes);
  // In the boot in which it was loaded it counts without a sync, and the rest does not reappear.
  ASSERT_TRUE(overlay->Write(100, BytesOf("second")));
  const std::string second = ContentOf(*overlay);
  overlay.reset();
  overlay = Load("boot 2");
  ExpectIs(*overlay, second);
  ASSERT_TRUE(overlay->Sync(SyncScope::kAll));
  overlay.reset();
  overlay = Load("boot 3");
  ExpectIs(*overlay, second);
  EXPECT_FALSE(overlay->notes().lost_changes);
}

TEST_F(OverlayTest, ChangesThatDidNotSurviveTheBootStayAwayOnAFullDisk) {
  {
    const auto overlay = Make();
    ASSERT_TRUE(overlay->Write(50, BytesOf("not synced")));
  }
  PickyOs os;
  os.call = "OpenBeneath";
  os.suffix = ".log.new";
  os.error = ENOSPC;
  auto overlay = LoadFrom(dir_.fd(), "boot 2", os);
  ExpectIs(*overlay, base_.content());
  const Status full = overlay->Write(0, BytesOf("new"));
  if (full) {
    ADD_FAILURE() << "it would be dropped: the log is of another boot";
  }
  ExpectIs(*overlay, base_.content());
  os.error = 0;
  ASSERT_TRUE(overlay->Write(0, BytesOf("new")));
  overlay.reset();
  ExpectIs(*Load("boot 2"), "new" + base_.content().substr(3));
}

}  // namespace
}  // namespace xzfs
