#include "store/xz_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <new>
#include <thread>

#include "support/forwarding_os.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kBlocks = 8;

// Blocks the pool's threads when they read it after its first Block, until it's opened.
class HeldFile : public RandomAccessFile {
 public:
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    if (offset != 0 && std::this_thread::get_id() != writer.load()) {
      may_go_.wait();
      // Gives an owner that doesn't wait time to end.
      for (int i = 0; i < 10'000 && !is_gone; ++i) {
        std::this_thread::yield();
      }
    }
    EXPECT_FALSE(is_gone) << "read when its owner had given it up";
    std::fill(out.begin(), out.end(), std::byte{'x'});
    return out.size();
  }
  uint64_t size() const override { return kBlocks * kBlockBytes; }
  void Open() { gate_.set_value(); }

  std::atomic<std::thread::id> writer;
  std::atomic<bool> is_gone = false;

 private:
  std::promise<void> gate_;
  const std::shared_future<void> may_go_ = gate_.get_future();
};

// There is no memory left when a Block is to be written.
class ThrowingOs : public ForwardingOs {
 public:
  std::atomic<bool> has_thrown = false;
  ssize_t PWrite(int fd, std::span<const std::byte> bytes, uint64_t offset) override {
    if (offset == 0) {
      return ForwardingOs::PWrite(fd, bytes, offset);
    }
    has_thrown = true;
    throw std::bad_alloc();
  }

 protected:
  int Before(std::string_view, const std::string&) override { return 0; }
};

TEST(XzWriterTest, AnExceptionWaitsForTasksThatUseItsCallersObjects) {
  const TempDir dir;
  const int out = openat(dir.fd(), "out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ThrowingOs os;
  HeldFile file;
  EncodePool pool(2, kBlockBytes);
  pool.Start();
  XzWriteRequest request;
  request.plain = &file;
  request.options.preset = 0;
  request.plan = XzPlan(file.size(), kBlockBytes);
  std::thread writer([&] {
    file.writer = std::this_thread::get_id();
    EXPECT_THROW((void)WriteXz(os, pool, request, out), std::bad_alloc);
    file.is_gone = true;
  });
  while (!os.has_thrown) {
    std::this_thread::yield();
  }
  file.Open();
  writer.join();
  EXPECT_TRUE(os.has_thrown);
  close(out);
}

TEST(XzWriterTest, EveryPieceIsReportedWhenItIsWritten) {
  const TempDir dir;
  const int out = openat(dir.fd(), "out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  HeldFile file;
  file.Open();
  EncodePool pool(2, kBlockBytes);
  pool.Start();
  XzWriteRequest request;
  request.plain = &file;
  request.options.preset = 0;
  request.plan = XzPlan(file.size(), kBlockBytes);
  uint64_t calls = 0;
  uint64_t plain = 0;
  uint64_t stored = 0;
  request.on_written = [&](uint64_t plain_bytes, uint64_t stored_bytes) {
    ++calls;
    plain += plain_bytes;
    stored += stored_bytes;
  };
  const auto written = WriteXz(Os::Real(), pool, request, out);
  close(out);
  ASSERT_TRUE(written);
  EXPECT_EQ(calls, kBlocks);
  EXPECT_EQ(plain, file.size());
  // All but the header of the Stream, the Index and the footer.
  EXPECT_LT(stored, written->stored_bytes);
  EXPECT_GT(stored + 100, written->stored_bytes);
}

}  // namespace
}  // namespace xzfs
