#include "unit/store/overlay_test.h"

namespace xzfs {
namespace {

TEST_F(OverlayTest, AFailedChangeLeavesOldOrNewBytes) {
  using Fault = FaultyOs::Fault;
  for (const Fault fault : {Fault::kOnce, Fault::kShortWrite}) {
    for (int k = 0; k < 60; ++k) {
      SCOPED_TRACE(k);
      std::mt19937 random(static_cast<unsigned>(k / 3));
      const TempDir dir;
      FaultyOs os;
      auto overlay = *Overlay::Create(os, dir.fd(), "1", BaseOf(), "boot", kTimes);
      std::string model = base_.content();
      os.FailAt(k, k % 2 == 0 ? ENOSPC : EIO, fault);
      for (int i = 0; i < 40; ++i) {
        const Change change = RandomChange(random);
        std::string after = model;
        Apply(change, after);
        const Status changed = Apply(change, *overlay);
        const std::string content = ContentOf(*overlay);
        if (changed) {
          ASSERT_EQ(content, after);
        } else {
          EXPECT_EQ(changed.error().code, k % 2 == 0 ? ENOSPC : EIO);
          ASSERT_NO_FATAL_FAILURE(ExpectBetween(content, model, after));
        }
        EXPECT_EQ(overlay->Stat()->st_size, static_cast<off_t>(content.size()));
        model = content;
      }
      overlay.reset();
      os.Stop();
      ASSERT_NO_FATAL_FAILURE(ExpectIs(*LoadFrom(dir.fd()), model));
    }
  }
}

// A failed write leaves no bytes in a hole of the file.
TEST_F(OverlayTest, AFailedWriteLeavesNothingBehindInAHole) {
  FaultyOs os;
  auto overlay = Make(os);
  ASSERT_TRUE(overlay->Truncate(10));
  ASSERT_TRUE(overlay->Truncate(100));
  const std::string model = ContentOf(*overlay);
  os.FailAt(1, ENOSPC, FaultyOs::Fault::kOnce);  // the log
  EXPECT_FALSE(overlay->Write(50, BytesOf("gone")));
  ExpectIs(*overlay, model);
  overlay.reset();
  ExpectIs(*Load(), model);
}

TEST_F(OverlayTest, AProcessThatEndsDuringAChangeLeavesOldOrNewBytes) {
  for (int k = 0; k < 90; ++k) {
    SCOPED_TRACE(k);
    std::mt19937 random(static_cast<unsigned>(k / 3));
    const TempDir dir;
    FaultyOs os;
    auto overlay = *Overlay::Create(os, dir.fd(), "1", BaseOf(), "boot", kTimes);
    std::string before = base_.content();
    std::string after = before;
    os.FailAt(k, EIO, FaultyOs::Fault::kCrash);
    while (!os.fired()) {
      before = after;
      const Change change = RandomChange(random);
      Apply(change, after);
      (void)Apply(change, *overlay);
    }
    overlay.reset();
    const auto loaded = LoadFrom(dir.fd());
    const std::string content = ContentOf(*loaded);
    ASSERT_NO_FATAL_FAILURE(ExpectBetween(content, before, after));
    ASSERT_NO_FATAL_FAILURE(ExpectIs(*LoadFrom(dir.fd()), content));
  }
}

// The data file is cut first. Neither bytes of the base nor zeros may appear there.
TEST_F(OverlayTest, ATruncateThatIsNotInTheLogCountsAsOneThatIs) {
  FaultyOs os;
  auto overlay = Make(os);
  ASSERT_TRUE(overlay->Write(0, BytesOf(std::string(100, 'x'))));
  os.FailAt(1, ENOSPC, FaultyOs::Fault::kOnce);  // the log
  EXPECT_FALSE(overlay->Truncate(50));
  ASSERT_TRUE(overlay->Write(190, BytesOf(std::string(10, 'y'))));
  const std::string model = std::string(50, 'x') + std::string(140, '\0') + std::string(10, 'y');
  ExpectIs(*overlay, model);
  overlay.reset();
  ExpectIs(*Load(), model);
}

TEST_F(OverlayTest, AFailedSyncStaysFailed) {
  for (const int call : {0, 2}) {  // the data file, the log
    const TempDir dir;
    FaultyOs os;
    const auto overlay = *Overlay::Create(os, dir.fd(), "1", BaseOf(), "boot", kTimes);
    ASSERT_TRUE(overlay->Write(0, BytesOf("x")));
    os.FailAt(call, EIO, FaultyOs::Fault::kOnce);
    EXPECT_FALSE(overlay->Sync(SyncScope::kOnlyData));
    for (int i = 0; i < 3; ++i) {
      const Status again = overlay->Sync(i % 2 == 0 ? SyncScope::kOnlyData : SyncScope::kAll);
      ASSERT_FALSE(again);
      EXPECT_EQ(again.error().code, EIO);
    }
  }
}

TEST_F(OverlayTest, AfterAFailedSyncOfANoteNoSyncSucceeds) {
  PickyOs os;
  const auto overlay = Make(os);
  os.call = "Sync";
  os.error = EIO;
  EXPECT_FALSE(overlay->NotePublishing({.inode = 1}));
  os.error = 0;
  EXPECT_FALSE(overlay->Sync(SyncScope::kOnlyData));
  EXPECT_FALSE(overlay->NotePublishing({.inode = 1}));
}

// The kernel reports a failure once, to the first caller that asks.
TEST_F(OverlayTest, ASyncDoesNotSucceedWhileAnotherOneFails) {
  class SlowSync : public ForwardingOs {
   public:
    std::latch began{1};
    std::latch may_fail{1};

   protected:
    int Before(std::string_view call, const std::string&) override {
      if (call != "Sync" || first_.exchange(true)) {
        return 0;
      }
      began.count_down();
      may_fail.wait();
      return -EIO;
    }

   private:
    std::atomic<bool> first_ = false;
  };
  SlowSync os;
  const auto overlay = Make(os);
  ASSERT_TRUE(overlay->Write(0, BytesOf("x")));
  std::thread first([&] { EXPECT_FALSE(overlay->Sync(SyncScope::kOnlyData)); });
  os.began.wait();
  std::thread second([&] { EXPECT_FALSE(overlay->Sync(SyncScope::kOnlyData)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // so that it is waiting by then
  os.may_fail.count_down();
  first.join();
  second.join();
}

TEST_F(OverlayTest, ASyncDoesNotCoverWritesDuringTheSync) {
  class WriteDuringSync : public ForwardingOs {
   public:
    Overlay* overlay = nullptr;

   protected:
    int Before(std::string_view call, const std::string&) override {
      if (call == "Sync" && overlay != nullptr) {
        EXPECT_TRUE(std::exchange(overlay, nullptr)->Write(50, BytesOf("late")));
      }
      return 0;
    }
  };
  WriteDuringSync os;
  auto overlay = Make(os);
  ASSERT_TRUE(overlay->Write(0, BytesOf("early")));
  os.overlay = overlay.get();
  ASSERT_TRUE(overlay->Sync(SyncScope::kOnlyData));
  overlay.reset();
  ExpectIs(*Load("boot 2"), "early" + base_.content().substr(5));
}

TEST_F(OverlayTest, ReadersAndWritersAtOnceSeeOldOrNewBytes) {
  const auto overlay = Make();
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) {
        std::string out(300, '?');
        const auto got = overlay->ReadAt(base_, 0, std::as_writable_bytes(std::span(out)));
        EXPECT_TRUE(got);
        EXPECT_EQ(out.substr(0, got.value_or(0)).find('?'), std::string::npos);
        (void)overlay->IsBase(0, 100);
        (void)overlay->Stat();
      }
    });
  }
  std::mt19937 random(1);
  std::string model = base_.content();
  for (int i = 0; i < 500; ++i) {
    const Change change = RandomChange(random, 250);
    EXPECT_TRUE(Apply(change, *overlay));
    Apply(change, model);
    if (i % 100 == 0) {
      EXPECT_TRUE(overlay->Sync(SyncScope::kOnlyData));
    }
  }
  stop = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
  ExpectIs(*overlay, model);
}

TEST_F(OverlayTest, DataThatCouldNotBeSyncedIsGoodOnceItIsWrittenAgain) {
  for (const int call : {0, 2}) {  // the data file, the log
    const TempDir dir;
    FaultyOs os;
    const auto overlay = *Overlay::Create(os, dir.fd(), "1", BaseOf(), "boot", kTimes);
    ASSERT_TRUE(overlay->Write(3, BytesOf("abc")));
    ASSERT_TRUE(overlay->Truncate(120));
    ASSERT_TRUE(overlay->Write(300, BytesOf("behind")));
    ASSERT_TRUE(overlay->SetTimes(kTimes));
    const std::string model = ContentOf(*overlay);
    os.FailAt(call, EIO, FaultyOs::Fault::kOnce);
    ASSERT_FALSE(overlay->Sync(SyncScope::kAll));
    ASSERT_TRUE(overlay->has_sync_error());
    EXPECT_EQ(overlay->sync_error()->code, EIO);
    ASSERT_TRUE(overlay->Renew());
    EXPECT_FALSE(overlay->has_sync_error());
    EXPECT_TRUE(overlay->Sync(SyncScope::kAll));
    ExpectIs(*overlay, model);
    EXPECT_EQ(overlay->Stat()->st_mtim.tv_sec, kTimes[1].tv_sec);
    ASSERT_TRUE(overlay->Write(0, BytesOf("z")));
    ExpectIs(*LoadFrom(dir.fd()), "z" + model.substr(1));
    ExpectIs(*LoadFrom(dir.fd(), "another boot"), model);
  }
}

TEST_F(OverlayTest, WritingAgainLosesNothingIfItIsCutOffOrFails) {
  for (int k = 0; k < 16; ++k) {
    for (const auto fault : {FaultyOs::Fault::kOnce, FaultyOs::Fault::kCrash}) {
      SCOPED_TRACE(k);
      const TempDir dir;
      FaultyOs os;
      auto overlay = *Overlay::Create(os, dir.fd(), "1", BaseOf(), "boot", kTimes);
      ASSERT_TRUE(overlay->Write(3, BytesOf("abc")));
      ASSERT_TRUE(overlay->Truncate(120));
      ASSERT_TRUE(overlay->Write(300, BytesOf("behind")));
      const std::string model = ContentOf(*overlay);
      os.FailAt(0, EIO, FaultyOs::Fault::kOnce);
      ASSERT_FALSE(overlay->Sync(SyncScope::kAll));
      os.FailAt(k, EIO, fault);
      (void)overlay->Renew();
      os.Stop();
      ASSERT_NO_FATAL_FAILURE(ExpectIs(*overlay, model));
      overlay.reset();
      ASSERT_NO_FATAL_FAILURE(ExpectIs(*LoadFrom(dir.fd()), model));
    }
  }
}

TEST_F(OverlayTest, ALogThatCouldNotBeReadBackTakesNoMoreChanges) {
  const auto overlay = Make();
  ASSERT_TRUE(overlay->Truncate(100'000));
  overlay->LimitLog(16'000);
  std::string model = ContentOf(*overlay);
  uint64_t at = 0;
  Status written;
  for (; written && at < 99'000; at += 10) {
    written = overlay->Write(at, BytesOf("x"));
    model[at] = written ? 'x' : model[at];
  }
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ENOSPC);
  EXPECT_LE(LogSize(), 16'000U);
  EXPECT_EQ(overlay->Truncate(5).error().code, ENOSPC);
  EXPECT_EQ(overlay->Zero(at, 5).error().code, ENOSPC);
  EXPECT_TRUE(overlay->Write(0, BytesOf("y"))) << "what is there may be changed";
  model[0] = 'y';
  EXPECT_TRUE(overlay->NoteDropped()) << "there is room for notes";
  EXPECT_TRUE(overlay->Sync(SyncScope::kOnlyData));
  ExpectIs(*overlay, model);
  ExpectIs(*Load(), model);
}

TEST_F(OverlayTest, ALogIsMadeShorterBeforeAChangeIsRefused) {
  const auto overlay = Make();
  overlay->LimitLog(4000);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(overlay->Write(0, BytesOf(std::string(150, 'x')))) << i;
    ASSERT_TRUE(overlay->Truncate(0)) << i;
  }
}

TEST_F(OverlayTest, AnOpenOverlayThatAnotherProgramRemovedIsCopied) {
  const TempDir lost;
  const auto overlay = Make();
  ASSERT_TRUE(overlay->Write(7, BytesOf("abc")));
  std::filesystem::remove(dir_ / "1.data");
  std::filesystem::remove(dir_ / "1.log");
  const auto moved = overlay->MoveTo(lost.fd(), "kept");
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(*moved, OverlayMove::kAll);
  std::ifstream file(lost / "kept.data", std::ios::binary);
  const std::string data(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(data.substr(7, 3), "abc");
  EXPECT_TRUE(std::filesystem::exists(lost / "kept.log"));
}

TEST_F(OverlayTest, AClosedOverlayThatAnotherProgramRemovedIsNotReportedAsKept) {
  const TempDir lost;
  const auto cache = std::make_shared<OverlayFileCache>(1);
  const auto overlay =
      *Overlay::Create(Os::Real(), dir_.fd(), "1", BaseOf(), "boot", kTimes, cache);
  ASSERT_TRUE(overlay->Write(7, BytesOf("abc")));
  ASSERT_TRUE(cache->CloseOldest());
  std::filesystem::remove(dir_ / "1.data");
  const auto moved = overlay->MoveTo(lost.fd(), "kept");
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(*moved, OverlayMove::kNothing);
  EXPECT_FALSE(std::filesystem::exists(lost / "kept.data"));
}

}  // namespace
}  // namespace xzfs
