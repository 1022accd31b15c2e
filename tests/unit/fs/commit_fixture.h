// Shared by the tests of commits: a mount without FUSE, and an Os in which a test can intercept
// calls.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fs/mount.h"
#include "support/forwarding_os.h"
#include "support/temp_dir.h"
#include "support/waiting_threads.h"
#include "support/xz_builder.h"

namespace xzfs {

// Runs a test's hook before the next call of a kind, once. Thread-safe.
class HookedOs : public ForwardingOs {
 public:
  // `hook` returns the result of the call; 0: make the call. `name`: only for a call with this
  // name;
  // "": for any.
  void BeforeNext(std::string_view call, std::function<int()> hook, std::string name = {}) {
    const std::lock_guard<std::mutex> lock(mutex_);
    call_ = call;
    hook_ = std::move(hook);
    name_ = std::move(name);
  }
  // From now on no call changes anything, as if the process had been killed.
  void Die() { dead_ = true; }
  void Revive() { dead_ = false; }

 protected:
  int Before(std::string_view call, const std::string& name) override {
    static const std::set<std::string_view> kChanges = {
        "PWrite",   "Truncate", "Allocate", "Sync",   "CopyRange", "MakeDir",
        "MakeNode", "Link",     "Rename",   "Unlink", "SetTimes",  "FSetTimes"};
    if (dead_ && kChanges.contains(call)) {
      return -EIO;
    }
    std::function<int()> hook;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (call == call_ && (name_.empty() || name == name_)) {
        call_ = {};
        hook = std::exchange(hook_, nullptr);
      }
    }
    return hook ? hook() : 0;
  }

 private:
  std::mutex mutex_;
  std::string_view call_;
  std::string name_;
  std::function<int()> hook_;
  std::atomic<bool> dead_{false};
};

template <class T>
int CodeOf(const Result<T>& result) {
  return result ? 0 : result.error().code;
}

class CommitTest : public testing::Test {
 protected:
  void SetUp() override {
    source_.Write("compressed.xz", XzBuilder().AddStream(std::string(50'000, 'c'), 10'000).bytes());
    MountAgain();
  }

  void MountAgain() {
    Start();
    const auto found = mount_->lookups.Lookup(kRootNode, "compressed");
    ASSERT_TRUE(found) << found.error().message;
    id_ = found->node;
  }

  void Start() {
    mount_ = nullptr;
    mount_ = MakeMount(os_);
  }

  std::unique_ptr<Mount> MakeMount(Os& os) {
    Options options;
    options.cache_size_bytes = uint64_t{64} << 20;
    options.threads = 2;
    options.settle_s = 3600;
    EXPECT_TRUE(ResolveDefaults(options));
    UniqueFd root(open(source_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    auto mount = Mount::Create(std::move(root), options, os);
    if (!mount) {
      throw std::runtime_error(mount.error().message);
    }
    (*mount)->Start();
    return std::move(*mount);
  }

  void TearDown() override {
    if (commit_.joinable()) {
      commit_.join();
    }
    mount_->commits.EndCommits(Committer::Ending::kAtOnce);
  }

  void Edit(char text = 'X', uint64_t offset = 12'345) { EditOn(*mount_, id_, text, offset); }

  static void EditOn(Mount& mount, NodeId id, char text, uint64_t offset) {
    auto file = mount.handles.Open(id, O_WRONLY);
    ASSERT_TRUE(file) << file.error().message;
    const std::byte byte{static_cast<uint8_t>(text)};
    ASSERT_TRUE(mount.writes.Write(*file->file, offset, {&byte, 1}));
    mount.handles.Close(std::move(file->file));
  }

  // The byte of the logical file at `offset`.
  char At(uint64_t offset, NodeId id) {
    auto file = mount_->handles.Open(id, O_RDONLY);
    EXPECT_TRUE(file) << file.error().message;
    std::vector<std::byte> buffer;
    std::vector<XzReader::Piece> lent;
    const auto got =
        file ? mount_->reads.Read(*file->file, offset, 1, buffer, lent) : Result<size_t>(0);
    EXPECT_TRUE(got) << got.error().message;
    const std::byte byte = lent.empty() ? buffer.at(0) : lent.at(0).bytes[0];
    lent.clear();
    mount_->handles.Close(std::move(file->file));
    return static_cast<char>(byte);
  }

  // A commit begins before the next call of a kind, and gets as far as it can.
  void CommitBeforeNext(std::string_view call) {
    os_.BeforeNext(call, [this] {
      commit_ = std::thread([this] { committed_ = mount_->commits.SyncCommits(); });
      EXPECT_TRUE(WaitUntilAllOthersWait());
      return 0;
    });
  }

  void ExpectCommitted() {
    ASSERT_TRUE(commit_.joinable()) << "the call was not made";
    commit_.join();
    EXPECT_TRUE(committed_) << committed_.error().message;
    EXPECT_EQ(mount_->engine.stats.commits_failed.Get(), 0U);
    EXPECT_EQ(mount_->engine.stats.commits_done.Get(), 1U);
  }

  HookedOs os_;
  TempDir source_;
  std::unique_ptr<Mount> mount_;
  NodeId id_ = 0;
  std::thread commit_;
  Status committed_;
};

// The file has a second name, `link`: its stored file can only be overwritten.
class LinkedCommitTest : public CommitTest {
 protected:
  void SetUp() override {
    CommitTest::SetUp();
    std::filesystem::create_hard_link(source_.path() / "compressed.xz", source_.path() / "link.xz");
    MountAgain();  // so that the mount knows nothing about the file
  }
};

}  // namespace xzfs
