#include "store/overlay_files.h"

#include <set>

#include "unit/store/overlay_test.h"

namespace xzfs {
namespace {

// Counts the open descriptors, and allows a limited number.
class LimitedOs : public ForwardingOs {
 public:
  int most = 1 << 20;
  int open() const { return open_; }
  int most_seen() const { return most_seen_; }

  int OpenBeneath(int dir, const std::string& name, int flags, mode_t mode) override {
    if (open_ >= most) {
      return -EMFILE;
    }
    const int fd = ForwardingOs::OpenBeneath(dir, name, flags, mode);
    open_ += fd >= 0 ? 1 : 0;
    most_seen_ = std::max(most_seen_, open_);
    return fd;
  }
  void Close(int fd) override {
    --open_;
    ForwardingOs::Close(fd);
  }

 protected:
  int Before(std::string_view, const std::string&) override { return 0; }

 private:
  int open_ = 0;
  int most_seen_ = 0;
};

class OverlayFilesTest : public OverlayTest {
 protected:
  std::unique_ptr<Overlay> MakeCached(const std::string& id) {
    auto made = Overlay::Create(os_, dir_.fd(), id, BaseOf(), "boot", kTimes, cache_);
    EXPECT_TRUE(made) << made.error().message;
    return made ? std::move(*made) : nullptr;
  }

  LimitedOs os_;
  std::shared_ptr<OverlayFileCache> cache_ = std::make_shared<OverlayFileCache>(3);
};

TEST_F(OverlayFilesTest, ManyOverlaysAreUsedWithFewDescriptors) {
  constexpr int kCount = 50;
  std::vector<std::unique_ptr<Overlay>> overlays;
  for (int i = 0; i < kCount; ++i) {
    overlays.push_back(MakeCached(std::to_string(i)));
    ASSERT_TRUE(overlays.back()->Write(10, BytesOf(std::to_string(i))));
  }
  for (int i = 0; i < kCount; ++i) {
    Overlay& overlay = *overlays[static_cast<size_t>(i)];
    ASSERT_TRUE(overlay.Write(20, BytesOf("again")));
    ASSERT_TRUE(overlay.Truncate(150));
    ASSERT_TRUE(overlay.SetTimes(kTimes));
    overlay.TouchCtime();
  }
  EXPECT_LE(os_.most_seen(), 8) << "three overlays' two, and those of one that is used";
  for (int i = 0; i < kCount; ++i) {
    const Overlay& overlay = *overlays[static_cast<size_t>(i)];
    std::string model = base_.content().substr(0, 150);
    const std::string number = std::to_string(i);
    model.replace(10, number.size(), number).replace(20, 5, "again");
    ExpectIs(overlay, model);
    EXPECT_EQ(overlay.Stat()->st_mtim.tv_sec, kTimes[1].tv_sec);
    ASSERT_TRUE(overlays[static_cast<size_t>(i)]->Sync(SyncScope::kAll));
  }
  EXPECT_LE(os_.most_seen(), 8);
  overlays.clear();
  EXPECT_EQ(os_.open(), 0);
  EXPECT_EQ(cache_->size(), 0U);
}

TEST_F(OverlayFilesTest, AnOverlayThatAProgramMayWriteToStaysOpen) {
  const auto kept = MakeCached("kept");
  ASSERT_TRUE(kept->files().KeepOpen());
  std::vector<std::unique_ptr<Overlay>> others;
  for (int i = 0; i < 10; ++i) {
    others.push_back(MakeCached(std::to_string(i)));
  }
  os_.most = 0;  // nothing can be opened
  EXPECT_TRUE(kept->Write(0, BytesOf("x")));
  EXPECT_TRUE(kept->Sync(SyncScope::kOnlyData));
  kept->files().LetClose();
  os_.most = 1 << 20;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(others[static_cast<size_t>(i)]->Write(0, BytesOf("x")));
  }
  os_.most = 0;
  cache_->CloseOldest();
  EXPECT_FALSE(kept->Write(0, BytesOf("x"))) << "it was closed";
}

TEST_F(OverlayFilesTest, AnotherOverlayIsClosedIfNothingCanBeOpened) {
  const auto one = MakeCached("1");
  const auto two = MakeCached("2");
  os_.most = os_.open();
  const auto three = MakeCached("3");
  ASSERT_NE(three, nullptr);
  EXPECT_TRUE(three->Write(0, BytesOf("x")));
  EXPECT_TRUE(one->Write(0, BytesOf("y")));
  EXPECT_TRUE(two->Write(0, BytesOf("z")));
  EXPECT_EQ(ContentOf(*one)[0], 'y');
}

TEST_F(OverlayFilesTest, AChangeThatFindsNoDescriptorChangesNothing) {
  const auto overlay = MakeCached("1");
  ASSERT_TRUE(overlay->Write(0, BytesOf("x")));
  const std::string model = ContentOf(*overlay);
  while (cache_->CloseOldest()) {
  }
  os_.most = 0;
  EXPECT_EQ(overlay->Write(5, BytesOf("lost")).error().code, EMFILE);
  EXPECT_EQ(overlay->Truncate(3).error().code, EMFILE);
  EXPECT_EQ(overlay->Zero(0, 10).error().code, EMFILE);
  EXPECT_FALSE(overlay->Sync(SyncScope::kOnlyData));
  os_.most = 1 << 20;
  ExpectIs(*overlay, model);
  EXPECT_TRUE(overlay->Sync(SyncScope::kOnlyData)) << "that was no failed sync";
}

TEST_F(OverlayFilesTest, AReaderOfARemovedOverlayMustLookAgain) {
  const auto overlay = MakeCached("1");
  ASSERT_TRUE(overlay->Write(0, BytesOf("x")));
  while (cache_->CloseOldest()) {
  }
  ASSERT_TRUE(overlay->Remove());
  std::string out(10, '?');
  const auto got = overlay->ReadAt(base_, 0, std::as_writable_bytes(std::span(out)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ESTALE);
}

}  // namespace
}  // namespace xzfs
