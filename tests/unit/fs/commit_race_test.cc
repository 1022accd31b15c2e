// Commits that begin at the worst moment. Other threads are stopped where a call to the system is
// about to be made.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "fs/filesystem.h"
#include "support/forwarding_os.h"
#include "support/temp_dir.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

// Lets a test step in before a call of a kind; only once. Thread-safe.
class HookedOs : public ForwardingOs {
 public:
  void BeforeNext(std::string_view call, std::function<void()> hook) {
    const std::lock_guard<std::mutex> lock(mutex_);
    call_ = call;
    hook_ = std::move(hook);
  }

 protected:
  int Before(std::string_view call, const std::string&) override {
    std::function<void()> hook;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (call == call_) {
        call_ = {};
        hook = std::exchange(hook_, nullptr);
      }
    }
    if (hook) {
      hook();
    }
    return 0;
  }

 private:
  std::mutex mutex_;
  std::string_view call_;
  std::function<void()> hook_;
};

bool IsAsleep(const std::filesystem::path& task) {
  std::ifstream file(task / "stat");
  std::string stat;
  std::getline(file, stat);
  const size_t name_end = stat.rfind(')');
  return name_end == std::string::npos || stat[name_end + 2] == 'S';
}

// Waits until every other thread waits for something: what was begun stands where it must wait.
bool WaitUntilAllOthersWait() {
  const std::string self = std::to_string(gettid());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < deadline) {
    bool all = true;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      all = all && (task.path().filename() == self || IsAsleep(task.path()));
    }
    if (all) {
      return true;
    }
    std::this_thread::yield();
  }
  return false;
}

class CommitRaceTest : public testing::Test {
 protected:
  void SetUp() override {
    source_.Write("cold.xz", XzBuilder().AddStream(std::string(50'000, 'c'), 10'000).bytes());
    Options options;
    options.cache_size_bytes = uint64_t{64} << 20;
    options.threads = 2;
    options.settle_s = 3600;
    ASSERT_TRUE(ResolveDefaults(options));
    UniqueFd root(open(source_.path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    auto fs = Filesystem::Create(std::move(root), options, os_);
    ASSERT_TRUE(fs) << fs.error().message;
    fs_ = std::move(*fs);
    fs_->Start();
    const auto found = fs_->Lookup(kRootNode, "cold");
    ASSERT_TRUE(found) << found.error().message;
    id_ = found->node;
  }

  void TearDown() override {
    if (commit_.joinable()) {
      commit_.join();
    }
    fs_->EndCommits(/*finish=*/false);
  }

  void Edit() {
    bool keep_cache = false;
    auto file = fs_->Open(id_, O_WRONLY, &keep_cache);
    ASSERT_TRUE(file) << file.error().message;
    const std::byte byte{'X'};
    ASSERT_TRUE(fs_->Write(**file, 12'345, {&byte, 1}));
    fs_->Close(std::move(*file));
  }

  // Before the next call of a kind is made a commit begins, and gets as far as it can.
  void CommitBeforeNext(std::string_view call) {
    os_.BeforeNext(call, [this] {
      commit_ = std::thread([this] { committed_ = fs_->SyncCommits(); });
      EXPECT_TRUE(WaitUntilAllOthersWait());
    });
  }

  void ExpectCommitted() {
    ASSERT_TRUE(commit_.joinable()) << "the call was not made";
    commit_.join();
    EXPECT_TRUE(committed_) << committed_.error().message;
    EXPECT_EQ(fs_->engine().stats.commits_failed.Get(), 0U);
    EXPECT_EQ(fs_->engine().stats.commits_done.Get(), 1U);
  }

  HookedOs os_;
  TempDir source_;
  std::unique_ptr<Filesystem> fs_;
  NodeId id_ = 0;
  std::thread commit_;
  Status committed_;
};

TEST_F(CommitRaceTest, ACommitThatBeginsInTheMidstOfALinkSucceeds) {
  Edit();
  CommitBeforeNext("Link");
  EXPECT_TRUE(fs_->Link(id_, kRootNode, "link"));
  ExpectCommitted();
}

TEST_F(CommitRaceTest, ACommitThatBeginsInTheMidstOfARenameSucceeds) {
  Edit();
  CommitBeforeNext("Rename");
  EXPECT_TRUE(fs_->Rename(kRootNode, "cold", kRootNode, "moved", 0));
  ExpectCommitted();
}

}  // namespace
}  // namespace xzfs
