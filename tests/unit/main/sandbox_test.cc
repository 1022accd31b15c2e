#include "main/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

bool HasLandlock() {
  return syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

class Sandbox : public testing::Test {
 protected:
  Sandbox() {
    folder_.Write("source/sub/file", "content");
    folder_.Write("outside", "secret");
    source_.Reset(open((folder_ / "source").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  // Runs in a separate thread, because a sandbox can't be left.
  void Inside(const std::function<void()>& act) {
    std::thread([&] {
      EnterSandbox(source_.get(), may_write_);
      act();
    }).join();
  }
  // 0 or the errno of opening.
  static int OpenError(int dir, const std::string& path, int flags) {
    const UniqueFd fd(openat(dir, path.c_str(), flags | O_CLOEXEC, 0600));
    return fd.valid() ? 0 : errno;
  }

  TempDir folder_;
  UniqueFd source_;
  bool may_write_ = false;
};

TEST_F(Sandbox, ReadsAndListsBeneathTheSource) {
  Inside([&] {
    EXPECT_EQ(OpenError(source_.get(), "sub/file", O_RDONLY), 0);
    EXPECT_EQ(OpenError(source_.get(), "sub", O_RDONLY | O_DIRECTORY), 0);
    EXPECT_EQ(OpenError(source_.get(), ".", O_RDONLY | O_DIRECTORY), 0);
  });
}

TEST_F(Sandbox, ReopensFilesBeneathTheSourceThroughTheirDescriptor) {
  const UniqueFd file(openat(source_.get(), "sub/file", O_PATH | O_CLOEXEC));
  Inside([&] {
    EXPECT_EQ(OpenError(AT_FDCWD, "/proc/self/fd/" + std::to_string(file.get()), O_RDONLY), 0);
  });
}

TEST_F(Sandbox, ReachesNothingElse) {
  if (!HasLandlock()) {
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  const std::string outside = folder_ / "outside";
  Inside([&] {
    EXPECT_EQ(OpenError(AT_FDCWD, outside, O_RDONLY), EACCES);
    EXPECT_EQ(OpenError(AT_FDCWD, "/etc/passwd", O_RDONLY), EACCES);
    EXPECT_EQ(OpenError(AT_FDCWD, "/proc/self/maps", O_RDONLY), EACCES);
    EXPECT_EQ(OpenError(source_.get(), "../outside", O_RDONLY), EACCES);
    EXPECT_EQ(OpenError(source_.get(), "..", O_RDONLY | O_DIRECTORY), EACCES);
  });
}

TEST_F(Sandbox, ChangesNothing) {
  if (!HasLandlock()) {
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  const std::string outside = folder_ / "outside";
  Inside([&] {
    EXPECT_EQ(OpenError(source_.get(), "sub/file", O_WRONLY), EACCES);
    EXPECT_EQ(OpenError(source_.get(), "new", O_WRONLY | O_CREAT), EACCES);
    EXPECT_EQ(unlinkat(source_.get(), "sub/file", 0), -1);
    EXPECT_EQ(mkdirat(source_.get(), "new", 0700), -1);
    EXPECT_EQ(unlink(outside.c_str()), -1);
  });
}

TEST_F(Sandbox, LetsAMountThatWritesChangeOnlyFilesBeneathTheSource) {
  may_write_ = true;
  const std::string outside = folder_ / "outside";
  Inside([&] {
    EXPECT_EQ(OpenError(source_.get(), "sub/file", O_WRONLY | O_TRUNC), 0);
    EXPECT_EQ(OpenError(source_.get(), "new", O_WRONLY | O_CREAT), 0);
    EXPECT_EQ(mkdirat(source_.get(), "folder", 0700), 0);
    EXPECT_EQ(renameat(source_.get(), "new", source_.get(), "folder/moved"), 0);
    EXPECT_EQ(unlinkat(source_.get(), "folder/moved", 0), 0);
    if (HasLandlock()) {
      EXPECT_EQ(OpenError(AT_FDCWD, outside, O_WRONLY), EACCES);
      EXPECT_EQ(unlink(outside.c_str()), -1);
    }
  });
}

TEST_F(Sandbox, BindsTheThreadsThatAreStartedInside) {
  if (!HasLandlock()) {
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  Inside([] {
    std::thread([] { EXPECT_EQ(OpenError(AT_FDCWD, "/etc/passwd", O_RDONLY), EACCES); }).join();
  });
}

TEST_F(Sandbox, LeavesTheOtherThreadsFree) {
  Inside([] { EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1); });
  EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
  EXPECT_EQ(OpenError(AT_FDCWD, "/etc/passwd", O_RDONLY), 0);
}

}  // namespace
}  // namespace xzfs
