// What the protocol tests share: a source in a temporary directory, served to a kernel that the
// test plays.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/os.h"
#include "frontend/fuse_frontend.h"
#include "fs/mount.h"
#include "support/fake_kernel.h"
#include "support/temp_dir.h"
#include "support/xz_builder.h"

namespace xzfs {

// The errno of a result, 0 for success.
template <class T>
int ErrorOf(const Result<T>& result) {
  return result ? 0 : result.error().code;
}

// Polls `condition` until it holds. False if it doesn't within a minute.
bool Eventually(const std::function<bool()>& condition);

// A directory of /proc/self/fd has so many entries.
size_t OpenDescriptors();

// Holds whoever passes until it's opened.
class Gate {
 public:
  void Pass() {
    ++arrived_;
    std::unique_lock<std::mutex> lock(mutex_);
    opened_.wait(lock, [this] { return is_open_; });
  }
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    is_open_ = true;
    opened_.notify_all();
  }
  bool AwaitArrival() {
    return Eventually([this] { return arrived_ != 0; });
  }

 private:
  std::atomic<int> arrived_ = 0;
  std::mutex mutex_;
  std::condition_variable opened_;
  bool is_open_ = false;
};

// One FUSE session over a socket pair, from Create to the end of Serve.
class TestSession {
 public:
  struct Setup {
    // Each request is answered before the next one is looked at: a FORGET has happened when a later
    // request is answered.
    bool single_threaded = false;
    Os* os = &Os::Real();
    FakeKernel::Transport transport = FakeKernel::Transport::kMessages;
    std::function<void()> on_ready = nullptr;
    bool with_init = true;
    bool read_only = false;
    // Changes what the test's sessions have.
    std::function<void(Options&)> options = nullptr;
    // As FuseFrontend::Config.
    std::function<void(uint64_t node)> before_store = nullptr;
  };

  TestSession(const TempDir& source, Setup setup);
  // The kernel releases what is open and hangs up; Serve must end of that.
  ~TestSession();
  TestSession(const TestSession&) = delete;
  TestSession& operator=(const TestSession&) = delete;

  void StartServing();
  // Waits for Serve to return; what it returned. If it doesn't, that is a failure, and it is hung
  // up on.
  Status Join();

  Mount& mount() { return *mount_; }
  FakeKernel& kernel() { return *kernel_; }
  FuseFrontend& frontend() { return *frontend_; }

 private:
  std::unique_ptr<Mount> mount_;
  std::unique_ptr<FakeKernel> kernel_;
  std::unique_ptr<FuseFrontend> frontend_;
  Status served_;
  std::atomic<bool> returned_{false};
  std::thread server_;
};

// Each test is a leak test too: when it ends, as many descriptors are open as at its start.
class ProtocolTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Makes the source's session, answers INIT. At most once a test.
  void Serve(TestSession::Setup setup = {});
  void ServeOneByOne() { Serve({.single_threaded = true}); }

  const TempDir& source() const { return source_; }
  FakeKernel& kernel() { return session_->kernel(); }
  Mount& mount() { return session_->mount(); }
  TestSession& session() { return *session_; }

  // Stores `plain` as `logical`.xz in Blocks of `block_bytes`.
  void WriteCompressed(const std::string& logical, std::string_view plain,
                       size_t block_bytes = 4096);
  // Replaces a stored file by rename, as editors and tar do.
  void ReplaceStored(const std::string& name, std::string_view content);
  struct stat StatStored(const std::string& name) const;

  // The node of a file that must be there. Counts one lookup.
  uint64_t NodeOf(std::string_view name, uint64_t parent = FUSE_ROOT_ID);
  // Opens a node that must open; its handle.
  uint64_t OpenNode(uint64_t node);
  // All of a directory's lines, from `offset` on, in replies of `size` bytes.
  std::vector<FakeKernel::DirLine> ListFrom(uint64_t node, uint64_t offset, uint32_t size,
                                            bool plus = false);

 private:
  TempDir source_;
  size_t descriptors_before_ = 0;
  std::unique_ptr<TestSession> session_;
};

}  // namespace xzfs
