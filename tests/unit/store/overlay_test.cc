#include "store/overlay.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bitset>
#include <cerrno>
#include <filesystem>
#include <latch>
#include <random>
#include <thread>
#include <vector>

#include "store/records.h"
#include "support/forwarding_os.h"
#include "support/mem_file.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

constexpr struct timespec kTimes[2] = {{1000000000, 111}, {1100000000, 222}};
constexpr uint64_t kMebibyte = uint64_t{1} << 20;

// Makes the calls for real until the test says otherwise.
class FaultyOs : public ForwardingOs {
 public:
  enum class Fault { kOnce, kShortWrite, kCrash };

  // Call number `at` from now on that changes something (0: the next one) fails with `error`. kShortWrite: if it is a
  // write, half of it is written, and the next call fails. kCrash: all calls after it fail too.
  void FailAt(int at, int error, Fault fault) {
    left_ = at;
    error_ = error;
    fault_ = fault;
    fired_ = false;
  }
  void Stop() { left_ = -1; }
  bool fired() const { return fired_; }

  ssize_t PWrite(int fd, std::span<const std::byte> bytes, uint64_t offset) override {
    if (left_ == 0 && fault_ == Fault::kShortWrite && bytes.size() > 1) {
      return Os::Real().PWrite(fd, bytes.first(bytes.size() / 2), offset);
    }
    return ForwardingOs::PWrite(fd, bytes.first(std::min(bytes.size(), most_)), offset);
  }
  void WriteAtMost(size_t most) { most_ = most; }

 protected:
  int Before(std::string_view call, const std::string&) override {
    if (call == "PRead" || call == "FStat" || left_ < 0 || left_-- > 0) {
      return 0;
    }
    left_ = fault_ == Fault::kCrash ? 0 : -1;
    fired_ = true;
    return -error_;
  }

 private:
  int left_ = -1;
  int error_ = EIO;
  Fault fault_ = Fault::kOnce;
  bool fired_ = false;
  size_t most_ = SIZE_MAX;
};

// Fails the calls with one name, on the names that end so.
class PickyOs : public ForwardingOs {
 public:
  std::atomic<int> error = 0;
  std::string call;
  std::string suffix;

 protected:
  int Before(std::string_view now, const std::string& name) override {
    return error != 0 && now == call && name.ends_with(suffix) ? -error : 0;
  }
};

struct Change {
  enum Kind { kWrite, kTruncate, kZero } kind = kWrite;
  uint64_t offset = 0;
  uint64_t length = 0;
  char byte = 0;

  uint64_t end() const { return offset + length; }
};

Change RandomChange(std::mt19937& random, uint64_t most_size = 400) {
  Change change;
  const auto below = [&](uint64_t limit) { return random() % limit; };
  const uint64_t kind = below(10);
  change.kind = kind < 6 ? Change::kWrite : kind < 8 ? Change::kTruncate : Change::kZero;
  change.offset = below(most_size);
  change.length = below(60);
  change.byte = static_cast<char>('a' + below(26));
  return change;
}

// What a file is after a change.
void Apply(const Change& change, std::string& model) {
  const auto offset = static_cast<size_t>(change.offset);
  const auto length = static_cast<size_t>(change.length);
  if (change.kind == Change::kTruncate) {
    model.resize(offset);
  } else if (change.kind == Change::kWrite && length > 0) {
    model.resize(std::max(model.size(), offset + length));
    std::fill_n(model.begin() + static_cast<int64_t>(offset), length, change.byte);
  } else if (change.kind == Change::kZero && offset < model.size()) {
    std::fill_n(model.begin() + static_cast<int64_t>(offset),
                std::min(length, model.size() - offset), '\0');
  }
}

Status Apply(const Change& change, Overlay& overlay) {
  switch (change.kind) {
    case Change::kTruncate:
      return overlay.Truncate(change.offset);
    case Change::kZero:
      return overlay.Zero(change.offset, change.length);
    case Change::kWrite:
      break;
  }
  return overlay.Write(change.offset, BytesOf(std::string(change.length, change.byte)));
}

std::string RandomText(size_t size) {
  std::mt19937 random(7);
  std::string text(size, '\0');
  std::generate(text.begin(), text.end(), [&] { return static_cast<char>('A' + random() % 26); });
  return text;
}

class OverlayTest : public ::testing::Test {
 protected:
  explicit OverlayTest(size_t size = 200) : base_(RandomText(size)) {}

  std::unique_ptr<Overlay> Make(Os& os = Os::Real()) {
    auto made = Overlay::Create(os, dir_.fd(), "1", BaseOf(), "boot", kTimes);
    EXPECT_TRUE(made);
    return made ? std::move(*made) : nullptr;
  }
  OverlayBase BaseOf() const {
    return {.inode = 5,
            .size_bytes = 50,
            .mtime_ns = -3,
            .plain_size = base_.size(),
            .path = "folder/\xFFname.xz"};
  }
  static std::unique_ptr<Overlay> LoadFrom(int folder, std::string_view boot_id = "boot",
                                           Os& os = Os::Real()) {
    auto loaded = Overlay::Load(os, folder, "1", boot_id);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return loaded ? std::move(*loaded) : nullptr;
  }
  std::unique_ptr<Overlay> Load(std::string_view boot_id = "boot") const {
    return LoadFrom(dir_.fd(), boot_id);
  }

  std::string ContentOf(const Overlay& overlay) const {
    std::string content(static_cast<size_t>(overlay.size()) + 10, '?');
    const auto got = overlay.ReadAt(base_, 0, std::as_writable_bytes(std::span(content)));
    EXPECT_TRUE(got) << got.error().message;
    content.resize(got.value_or(0));
    return content;
  }
  void ExpectIs(const Overlay& overlay, const std::string& model) const {
    ASSERT_EQ(ContentOf(overlay), model);
    EXPECT_EQ(overlay.size(), model.size());
    EXPECT_EQ(overlay.Stat()->st_size, static_cast<off_t>(model.size()));
  }
  // That after a change that failed or was cut off each byte is what it was or what it was to be.
  static void ExpectBetween(const std::string& content, const std::string& before,
                            const std::string& after) {
    ASSERT_TRUE(content.size() == before.size() || content.size() == after.size());
    for (size_t i = 0; i < content.size(); ++i) {
      const bool old = i < before.size() && content[i] == before[i];
      ASSERT_TRUE(old || (i < after.size() && content[i] == after[i]))
          << "byte " << i << " of\n"
          << content << "\nis neither of\n"
          << before << "\nnor\n"
          << after;
    }
  }
  uint64_t LogSize() const { return std::filesystem::file_size(dir_ / "1.log"); }
  std::string LogBytes() const {
    std::ifstream file(dir_ / "1.log", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  void CopyTo(const TempDir& to) const {
    std::filesystem::copy(dir_.path(), to.path());
  }

  TempDir dir_;
  MemFile base_;
};

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
    EXPECT_FALSE(overlay->dropped());
    EXPECT_FALSE(overlay->published_as());
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
    EXPECT_TRUE(overlay->dropped());
    ASSERT_TRUE(overlay->published_as());
    EXPECT_EQ(overlay->published_as()->mtime_ns, as.mtime_ns);
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
    ASSERT_TRUE(overlay->Sync(true));
    overlay.reset();
    ASSERT_NO_FATAL_FAILURE(ExpectIs(*LoadFrom(dir.fd(), "another boot"), model));
  }
}

TEST_F(OverlayTest, WhatWasCutOffComesBackAsZeros) {
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

TEST_F(OverlayTest, OffsetsThatNoFileHasAreRefused) {
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

TEST_F(OverlayTest, AnOverlayThatIsThereIsNotMadeAgain) {
  {
    const auto overlay = Make();
    ASSERT_TRUE(overlay->Write(0, BytesOf("kept")));
  }
  EXPECT_FALSE(Overlay::Create(Os::Real(), dir_.fd(), "1", BaseOf(), "boot", kTimes));
  EXPECT_EQ(ContentOf(*Load()).substr(0, 4), "kept");
}

TEST_F(OverlayTest, OneThatCouldNotBeMadeLeavesNothing) {
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

TEST_F(OverlayTest, ARemovedOneCanStillBeRead) {
  const auto overlay = Make();
  ASSERT_TRUE(overlay->Write(0, BytesOf("still")));
  ASSERT_TRUE(overlay->Remove());
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  EXPECT_EQ(ContentOf(*overlay).substr(0, 5), "still");
}

// Data without a log is nothing, whoever removes it.
TEST_F(OverlayTest, RemovingTakesTheLogFirst) {
  FaultyOs os;
  const auto overlay = Make(os);
  os.FailAt(1, EIO, FaultyOs::Fault::kCrash);
  EXPECT_FALSE(overlay->Remove());
  EXPECT_FALSE(std::filesystem::exists(dir_ / "1.log"));
  const auto loaded = Overlay::Load(Os::Real(), dir_.fd(), "1", "boot");
  ASSERT_FALSE(loaded);
  EXPECT_FALSE(loaded.error().of_the_source);
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
          const Change next = RandomChange(random);  // goes where the torn record was
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

TEST_F(OverlayTest, WhatFollowsADamagedRecordDoesNotComeBack) {
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

TEST_F(OverlayTest, InAnotherBootOnlyWhatWasSyncedCounts) {
  std::string synced;
  {
    const auto overlay = Make();
    ASSERT_TRUE(overlay->Write(0, BytesOf("synced")));
    ASSERT_TRUE(overlay->Sync(true));
    synced = ContentOf(*overlay);
    ASSERT_TRUE(overlay->Write(50, BytesOf("not synced")));
    ASSERT_TRUE(overlay->Write(300, BytesOf("not synced")));
  }
  auto overlay = Load("boot 2");
  ExpectIs(*overlay, synced);
  // In the boot in which it was loaded it counts without a sync, and the rest doesn't come back.
  ASSERT_TRUE(overlay->Write(100, BytesOf("second")));
  const std::string second = ContentOf(*overlay);
  overlay.reset();
  overlay = Load("boot 2");
  ExpectIs(*overlay, second);
  ASSERT_TRUE(overlay->Sync(false));
  overlay.reset();
  ExpectIs(*Load("boot 3"), second);
}

TEST_F(OverlayTest, WhatDidNotSurviveTheBootStaysAwayOnAFullDisk) {
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

TEST_F(OverlayTest, AFailedChangeLeavesWhatWasOrWhatWasMeant) {
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

// What was written by a write that failed isn't there where the file has a hole.
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

TEST_F(OverlayTest, AProcessThatEndsInAChangeLeavesWhatWasOrWhatWasMeant) {
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

// The data file is cut first. Neither the base nor zeros may come where it was.
TEST_F(OverlayTest, ATruncateThatTheLogDoesNotTellOfIsAsOneThatItDoes) {
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
    EXPECT_FALSE(overlay->Sync(true));
    for (int i = 0; i < 3; ++i) {
      const Status again = overlay->Sync(i % 2 == 0);
      ASSERT_FALSE(again);
      EXPECT_EQ(again.error().code, EIO);
    }
  }
}

TEST_F(OverlayTest, AfterTheLogOfANoteCouldNotBeSyncedNothingIsSaidToBeSynced) {
  PickyOs os;
  const auto overlay = Make(os);
  os.call = "Sync";
  os.error = EIO;
  EXPECT_FALSE(overlay->NotePublishing({.inode = 1}));
  os.error = 0;
  EXPECT_FALSE(overlay->Sync(true));
  EXPECT_FALSE(overlay->NotePublishing({.inode = 1}));
}

// The kernel tells of a failure once, to whom asks first.
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
  std::thread first([&] { EXPECT_FALSE(overlay->Sync(true)); });
  os.began.wait();
  std::thread second([&] { EXPECT_FALSE(overlay->Sync(true)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  os.may_fail.count_down();
  first.join();
  second.join();
}

TEST_F(OverlayTest, WhatIsWrittenDuringASyncIsNotCoveredByIt) {
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
  ASSERT_TRUE(overlay->Sync(true));
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
      EXPECT_TRUE(overlay->Sync(true));
    }
  }
  stop = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
  ExpectIs(*overlay, model);
}

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
    EXPECT_TRUE(overlay->Sync(true));
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
    EXPECT_EQ(overlay->dropped(), note == 1);
    EXPECT_EQ(overlay->published_as().has_value(), note == 2);
  }
}

TEST_F(OverlayCompactionTest, AFailureOrTheEndAtAnyStepLosesNothing) {
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
