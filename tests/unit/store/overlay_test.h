// Shared by the tests of Overlay.
#pragma once

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

#include "store/overlay.h"
#include "store/records.h"
#include "support/forwarding_os.h"
#include "support/mem_file.h"
#include "support/temp_dir.h"

namespace xzfs {

inline constexpr struct timespec kTimes[2] = {{1000000000, 111}, {1100000000, 222}};
inline constexpr uint64_t kMebibyte = uint64_t{1} << 20;

// Makes the calls for real until the test says otherwise.
class FaultyOs : public ForwardingOs {
 public:
  enum class Fault { kOnce, kShortWrite, kCrash };

  // Call number `at` from now on that changes something (0: the next one) fails with `error`.
  // kShortWrite: if it is a write, half of it is written, and the next call fails. kCrash: all
  // calls after it fail too.
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

inline Change RandomChange(std::mt19937& random, uint64_t most_size = 400) {
  Change change;
  const auto below = [&](uint64_t limit) { return random() % limit; };
  const uint64_t kind = below(10);
  change.kind = kind < 6 ? Change::kWrite : kind < 8 ? Change::kTruncate : Change::kZero;
  change.offset = below(most_size);
  change.length = below(60);
  change.byte = static_cast<char>('a' + below(26));
  return change;
}

// The content of a file after a change.
inline void Apply(const Change& change, std::string& model) {
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

inline Status Apply(const Change& change, Overlay& overlay) {
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

inline std::string RandomText(size_t size) {
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
  // Checks that after a change that failed or was cut off each byte has its old or its new value.
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
  void CopyTo(const TempDir& to) const { std::filesystem::copy(dir_.path(), to.path()); }

  TempDir dir_;
  MemFile base_;
};

}  // namespace xzfs
