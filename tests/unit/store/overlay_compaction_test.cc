#include "unit/store/overlay_test.h"

namespace xzfs {
namespace {

// With a log that the next changes make long enough to be rewritten.
class OverlayCompactionTest : public OverlayTest {
 protected:
  static constexpr size_t kSize = 256 << 10;
  OverlayCompactionTest() : OverlayTest(kSize), model_(base_.content()) {
    auto overlay = Make();
    std::mt19937 random(3);
    while (LogSize() + 200 < kMebibyte) {
      const size_t at = random() % 4096;
      EXPECT_TRUE(overlay->Truncate(kSize + at));
      model_.resize(kSize + at);
    }
    EXPECT_TRUE(overlay->Write(0, BytesOf("synced")));
    EXPECT_TRUE(overlay->Sync(SyncScope::kOnlyData));
    model_.replace(0, 6, "synced");
    full_log_ = LogSize();
  }

  std::string model_;
  uint64_t full_log_ = 0;
};

TEST_F(OverlayCompactionTest, TheChangeThatMakesTheLogShorterIsInIt) {
  for (const Change::Kind kind : {Change::kWrite, Change::kTruncate, Change::kZero}) {
    const TempDir copy;
    CopyTo(copy);
    std::string model = model_;
    auto overlay = LoadFrom(copy.fd());
    for (uint64_t i = 1; std::filesystem::file_size(copy / "1.log") >= full_log_; ++i) {
      ASSERT_LT(i, 100U);
      const Change change = {kind, 1000 + 100 * i, 10, 'w'};
      ASSERT_TRUE(Apply(change, *overlay));
      Apply(change, model);
    }
    overlay.reset();
    ExpectIs(*LoadFrom(copy.fd()), model);
    EXPECT_FALSE(std::filesystem::exists(copy / "1.log.new"));
  }
}

TEST_F(OverlayCompactionTest, TheNoteThatMakesTheLogShorterIsInIt) {
  for (int note = 0; note < 3; ++note) {
    const TempDir copy;
    CopyTo(copy);
    auto overlay = LoadFrom(copy.fd());
    for (int i = 0; std::filesystem::file_size(copy / "1.log") >= full_log_; ++i) {
      ASSERT_LT(i, 100);
      const Status noted = note == 0   ? overlay->NotePath("new path")
                           : note == 1 ? overlay->NoteDropped()
                                       : overlay->NotePublishing({.inode = 9});
      ASSERT_TRUE(noted);
    }
    overlay = LoadFrom(copy.fd());
    EXPECT_EQ(overlay->base().path == "new path", note == 0);
    EXPECT_EQ(overlay->notes().dropped, note == 1);
    EXPECT_EQ(overlay->notes().published_as.has_value(), note == 2);
  }
}

TEST_F(OverlayCompactionTest, AFailureOrAKillAtAnyStepLosesNothing) {
  for (const auto fault :
       {FaultyOs::Fault::kOnce, FaultyOs::Fault::kShortWrite, FaultyOs::Fault::kCrash}) {
    bool shortened = false;
    for (int k = 0; k < 40; ++k) {
      SCOPED_TRACE(k);
      const TempDir copy;
      CopyTo(copy);
      FaultyOs os;
      auto overlay = LoadFrom(copy.fd(), "boot", os);
      os.FailAt(k, EIO, fault);
      std::string before = model_;
      std::string after = before;
      for (uint64_t i = 1; i < 12 && !(fault == FaultyOs::Fault::kCrash && os.fired()); ++i) {
        before = after;
        const Change change = {Change::kWrite, 1000 * i, 10, 'w'};
        Apply(change, after);
        if (!Apply(change, *overlay) && fault != FaultyOs::Fault::kCrash) {
          after = before;
        }
      }
      overlay.reset();
      const auto loaded = LoadFrom(copy.fd());
      ASSERT_NO_FATAL_FAILURE(ExpectBetween(ContentOf(*loaded), before, after));
      EXPECT_FALSE(std::filesystem::exists(copy / "1.log.new"));
      shortened |= std::filesystem::file_size(copy / "1.log") < full_log_;
      // What was synced survives the boot, whether or not the log was rewritten.
      const auto next_boot = LoadFrom(copy.fd(), "boot 2");
      EXPECT_EQ(ContentOf(*next_boot).substr(0, 1000), model_.substr(0, 1000));
    }
    EXPECT_TRUE(shortened);
  }
}

TEST_F(OverlayCompactionTest, AHundredThousandRandomWritesLeaveAShortLog) {
  auto overlay = Load();
  std::bitset<kSize> changed;
  std::mt19937 random(5);
  for (int i = 0; i < 100000; ++i) {
    const size_t length = 1 + random() % 16;
    const size_t at = random() % (kSize - length);
    const std::string text(length, static_cast<char>('a' + random() % 26));
    ASSERT_TRUE(overlay->Write(at, BytesOf(text)));
    model_.replace(at, length, text);
    for (size_t b = at; b < at + length; ++b) {
      changed.set(b);
    }
    if (i % 20000 == 0) {
      EXPECT_LT(LogSize(), 3 * kMebibyte);
    }
  }
  size_t extents = 0;
  for (size_t i = 0; i < kSize; ++i) {
    extents += changed[i] && (i == 0 || !changed[i - 1]) ? 1 : 0;
  }
  std::string record;
  AppendRecord(LogExtent{1, 2}, record);
  EXPECT_LT(LogSize(), std::max(kMebibyte, 2 * extents * record.size()) + 1000);
  ExpectIs(*overlay, model_);
  overlay.reset();
  ExpectIs(*Load(), model_);
}

}  // namespace
}  // namespace xzfs
