// A lookup of a name does not wait while an operation on names waits for the disk.
#include <gtest/gtest.h>
#include <linux/mount.h>

#include <chrono>
#include <future>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "commit_fixture.h"

namespace xzfs {
namespace {

// Calls `look` on another thread during each sync, and counts the syncs in which it didn't end.
// Thread-safe.
class SlowDiskOs : public ForwardingOs {
 public:
  void Watch(std::function<void()> look) {
    const std::lock_guard<std::mutex> lock(mutex_);
    look_ = std::move(look);
  }
  // Blocks until every look has ended.
  void EndWatch() {
    Watch(nullptr);
    const std::lock_guard<std::mutex> lock(mutex_);
    looks_.clear();
  }
  int syncs() const { return syncs_; }
  int waited() const { return waited_; }

 protected:
  int Before(std::string_view call, const std::string& /*name*/) override {
    if (call != "Sync") {
      return 0;
    }
    std::shared_future<void> ended;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (look_ == nullptr) {
        return 0;
      }
      ended = std::async(std::launch::async, look_).share();
      looks_.push_back(ended);
    }
    ++syncs_;
    if (ended.wait_for(std::chrono::seconds(10)) != std::future_status::ready) {
      ++waited_;
      Watch(nullptr);  // once is enough
    }
    return 0;
  }

 private:
  std::mutex mutex_;
  std::function<void()> look_;
  std::vector<std::shared_future<void>> looks_;
  std::atomic<int> syncs_{0};
  std::atomic<int> waited_{0};
};

struct Operation {
  const char* name;
  bool edits_first;
  std::function<Status(Mount&)> run;
};

class NamesWaitTest : public CommitTest, public testing::WithParamInterface<Operation> {
 protected:
  void SetUp() override {
    source_.Write("plain", "plain\n");
    source_.Write("bystander", "somebody else's\n");
    CommitTest::SetUp();
    mount_ = MakeMount(slow_);
    id_ = mount_->lookups.Lookup(kRootNode, "compressed")->node;
    if (GetParam().edits_first) {
      Edit();
    }
  }
  void TearDown() override {
    CommitTest::TearDown();
    mount_ = nullptr;
  }

  SlowDiskOs slow_;
};

TEST_P(NamesWaitTest, ANameIsLookedUpWhileAnOperationWaitsForTheDisk) {
  slow_.Watch([this] { EXPECT_TRUE(mount_->lookups.Lookup(kRootNode, "bystander")); });
  const Status done = GetParam().run(*mount_);
  slow_.EndWatch();
  EXPECT_TRUE(done) << done.error().message;
  EXPECT_GT(slow_.syncs(), 0) << "nothing was synced";
  EXPECT_EQ(slow_.waited(), 0);
}

Status Rename(Mount& mount, const char* from, const char* to, unsigned flags = 0) {
  return mount.renames.Rename(kRootNode, from, kRootNode, to, flags);
}

INSTANTIATE_TEST_SUITE_P(
    Operations, NamesWaitTest,
    testing::Values(
        Operation{"CompressedOverPlain", false,
                  [](Mount& mount) { return Rename(mount, "compressed", "plain"); }},
        Operation{"PlainOverCompressed", false,
                  [](Mount& mount) { return Rename(mount, "plain", "compressed"); }},
        Operation{"EditedOverPlain", true,
                  [](Mount& mount) { return Rename(mount, "compressed", "plain"); }},
        Operation{"PlainOverEdited", true,
                  [](Mount& mount) { return Rename(mount, "plain", "compressed"); }},
        Operation{
            "Exchange", false,
            [](Mount& mount) { return Rename(mount, "plain", "compressed", RENAME_EXCHANGE); }},
        Operation{
            "Whiteout", false,
            [](Mount& mount) { return Rename(mount, "plain", "compressed", RENAME_WHITEOUT); }},
        Operation{"RemovalOfAnEditedFile", true,
                  [](Mount& mount) { return mount.removals.Unlink(kRootNode, "compressed"); }},
        Operation{"CommitOfAnEditedFileWithTwoNames", true,
                  [](Mount& mount) {
                    const auto linked = mount.new_names.Link(
                        mount.lookups.Lookup(kRootNode, "compressed")->node, kRootNode, "link");
                    return linked ? mount.commits.SyncCommits() : Status(Failure(linked.error()));
                  }},
        Operation{"CommitOfAnEditedFile", true,
                  [](Mount& mount) { return mount.commits.SyncCommits(); }}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace xzfs
