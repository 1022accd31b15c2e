#include "base/os.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

TEST(OsTest, OpensAFileInADirectory) {
  const TempDir dir;
  dir.Write("a", "hello");
  const Descriptor fd(Os::Real(), Os::Real().OpenBeneath(dir.fd(), "a", O_RDONLY));
  ASSERT_TRUE(fd.valid());
  std::byte out[16];
  EXPECT_EQ(Os::Real().PRead(fd.get(), out, 1), 4);
}

TEST(OsTest, RefusesNamesThatLeaveTheDirectory) {
  const TempDir dir;
  for (const char* name : {"", ".", "..", "a/b", "/etc/passwd", "../x"}) {
    EXPECT_EQ(Os::Real().OpenBeneath(dir.fd(), name, O_RDONLY), -EINVAL) << name;
  }
}

TEST(OsTest, NeverFollowsASymlink) {
  const TempDir dir;
  ASSERT_EQ(symlink("/etc/passwd", (dir.path() / "link").c_str()), 0);
  EXPECT_EQ(Os::Real().OpenBeneath(dir.fd(), "link", O_RDONLY), -ELOOP);
  struct stat st = {};
  ASSERT_EQ(Os::Real().StatAt(dir.fd(), "link", &st), 0);
  EXPECT_TRUE(S_ISLNK(st.st_mode));
}

TEST(OsTest, ReportsErrnoAsANegativeResult) {
  const TempDir dir;
  struct stat st = {};
  EXPECT_EQ(Os::Real().StatAt(dir.fd(), "missing", &st), -ENOENT);
  EXPECT_EQ(Os::Real().OpenBeneath(dir.fd(), "missing", O_RDONLY), -ENOENT);
}

TEST(OsTest, OpeningAFifoDoesNotBlock) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir.path() / "fifo").c_str(), 0600), 0);
  const Descriptor fd(Os::Real(), Os::Real().OpenBeneath(dir.fd(), "fifo", O_RDONLY | O_NONBLOCK));
  EXPECT_TRUE(fd.valid());
}

}  // namespace
}  // namespace xzfs
