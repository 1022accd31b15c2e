// The order of syncs on a file system that may keep a file and lose an earlier change of names.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <mutex>
#include <vector>

#include "base/caller.h"
#include "commit_fixture.h"

namespace xzfs {
namespace {

class UnorderedOs : public ForwardingOs {
 public:
  bool KeepsOrder(int /*fd*/) override { return false; }
  int Sync(int fd) override {
    Note(fd);
    return ForwardingOs::Sync(fd);
  }
  int SyncData(int fd) override {
    Note(fd);
    return ForwardingOs::SyncData(fd);
  }
  std::vector<ino_t> TakeSynced() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(synced_, {});
  }

 protected:
  int Before(std::string_view /*call*/, const std::string& /*name*/) override { return 0; }

 private:
  void Note(int fd) {
    struct stat st = {};
    if (fstat(fd, &st) == 0) {
      const std::lock_guard<std::mutex> lock(mutex_);
      synced_.push_back(st.st_ino);
    }
  }

  std::mutex mutex_;
  std::vector<ino_t> synced_;
};

class NameOrderTest : public CommitTest {
 protected:
  void SetUp() override {
    CommitTest::SetUp();
    mount_ = MakeMount(unordered_);
    id_ = mount_->lookups.Lookup(kRootNode, "compressed")->node;
  }
  void TearDown() override {
    CommitTest::TearDown();
    mount_ = nullptr;
  }
  ino_t InodeOf(const char* name) const {
    struct stat st = {};
    stat((source_.path() / name).c_str(), &st);
    return st.st_ino;
  }
  // The calls that a sync of the file makes, in order.
  std::vector<ino_t> Sync(NodeId id) {
    auto file = mount_->handles.Open(id, O_RDONLY);
    EXPECT_TRUE(file);
    unordered_.TakeSynced();
    EXPECT_TRUE(mount_->syncs.Sync(file->file->id(), SyncScope::kAll));
    mount_->handles.Close(std::move(file->file));
    return unordered_.TakeSynced();
  }

  UnorderedOs unordered_;
};

// Otherwise its changes could appear under the name that the base had before.
TEST_F(NameOrderTest, TheNameOfAnEditedFileIsSyncedBeforeItsChanges) {
  ASSERT_TRUE(mount_->renames.Rename(kRootNode, "compressed", kRootNode, "renamed", 0));
  Edit();
  const ino_t base = InodeOf("renamed.xz");
  EXPECT_EQ(Sync(id_).at(0), base);
  Edit('Y');
  EXPECT_NE(Sync(id_).at(0), base) << "once is enough";
  ASSERT_TRUE(mount_->renames.Rename(kRootNode, "renamed", kRootNode, "again", 0));
  EXPECT_EQ(Sync(id_).at(0), base);
}

// Otherwise it could appear together with the compressed file that had the name before.
TEST_F(NameOrderTest, TheDirectoryOfANewPlainFileIsSyncedBeforeIt) {
  ASSERT_TRUE(mount_->removals.Unlink(kRootNode, "compressed"));
  std::unique_ptr<OpenFile> file;
  const auto made =
      mount_->new_names.Create(kRootNode, "compressed", 0644, O_WRONLY, Caller{}, &file);
  ASSERT_TRUE(made) << made.error().message;
  mount_->handles.Close(std::move(file));
  const std::vector<ino_t> synced = Sync(made->node);
  ASSERT_EQ(synced.size(), 2U);
  EXPECT_EQ(synced[0], InodeOf(""));
  EXPECT_EQ(synced[1], InodeOf("compressed"));
  EXPECT_EQ(Sync(made->node).size(), 1U) << "once is enough";
}

}  // namespace
}  // namespace xzfs
