#include "base/os.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <string>

#include "support/forwarding_os.h"
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

// Reads and writes three bytes at a time, at most.
class ShortOs : public ForwardingOs {
 public:
  ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) override {
    return ForwardingOs::PRead(fd, out.first(std::min<size_t>(out.size(), 3)), offset);
  }
  ssize_t PWrite(int fd, std::span<const std::byte> bytes, uint64_t offset) override {
    return ForwardingOs::PWrite(fd, bytes.first(std::min<size_t>(bytes.size(), 3)), offset);
  }

 protected:
  int Before(std::string_view, const std::string&) override { return 0; }
};

TEST(OsTest, ReadAllAndWriteAllGoOnAfterShortCalls) {
  const TempDir dir;
  dir.Write("a", "");
  ShortOs os;
  const Descriptor fd(os, os.OpenBeneath(dir.fd(), "a", O_RDWR, 0));
  const std::string text = "hello world";
  EXPECT_EQ(os.WriteAll(fd.get(), std::as_bytes(std::span(text)), 2), 0);
  std::string out(20, '.');
  EXPECT_EQ(os.ReadAll(fd.get(), std::as_writable_bytes(std::span(out)), 4), 9);
  EXPECT_EQ(out.substr(0, 9), "llo world");
  EXPECT_EQ(os.ReadAll(fd.get(), std::as_writable_bytes(std::span(out).first(4)), 2), 4);
  EXPECT_EQ(out.substr(0, 4), "hell");
}

TEST(OsTest, ReadAllAndWriteAllReturnTheErrorOfTheCall) {
  const TempDir dir;
  dir.Write("a", "x");
  const Descriptor fd(Os::Real(), Os::Real().OpenBeneath(dir.fd(), "a", O_RDONLY));
  std::byte byte[1];
  EXPECT_EQ(Os::Real().WriteAll(fd.get(), byte, 0), -EBADF);
  EXPECT_EQ(Os::Real().ReadAll(-1, byte, 0), -EBADF);
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
