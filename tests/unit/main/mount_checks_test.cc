#include "main/mount_checks.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

using ::testing::Test;

class CheckPathsTest : public Test {
 protected:
  CheckPathsTest() {
    folder_.MakeDir("source/sub");
    folder_.MakeDir("mnt/sub");
    folder_.Write("file.xz", "x");
  }
  std::string MessageOf(const std::string& source, const std::string& mountpoint) {
    const auto paths = CheckPaths(folder_ / source, folder_ / mountpoint, {});
    if (paths) {
      return "";
    }
    EXPECT_EQ(paths.error().code, ExitCode::kMountFailed);
    EXPECT_EQ(paths.error().message.find('\n'), std::string::npos);
    return paths.error().message;
  }

  TempDir folder_;
};

TEST_F(CheckPathsTest, ResolveTheMountpointAndOpenTheSource) {
  ASSERT_EQ(symlink("mnt", (folder_ / "link").c_str()), 0);
  const auto paths = CheckPaths(folder_ / "source", folder_ / "link/../link/./", {});
  ASSERT_TRUE(paths) << paths.error().message;
  EXPECT_EQ(paths->mountpoint, folder_ / "mnt");
  EXPECT_EQ(paths->source_name, folder_ / "source");
  struct stat expected;
  struct stat got;
  ASSERT_EQ(stat((folder_ / "source").c_str(), &expected), 0);
  ASSERT_EQ(fstat(paths->source.get(), &got), 0);
  EXPECT_EQ(got.st_ino, expected.st_ino);
}

TEST_F(CheckPathsTest, AllowTheSourceItselfAsMountpoint) {
  EXPECT_EQ(MessageOf("source", "source"), "");
  ASSERT_EQ(symlink("source", (folder_ / "alias").c_str()), 0);
  EXPECT_EQ(MessageOf("alias", "source/"), "");
}

TEST_F(CheckPathsTest, AllowNamesThatOnlyBeginAlike) {
  folder_.MakeDir("source.mnt");
  EXPECT_EQ(MessageOf("source", "source.mnt"), "");
  EXPECT_EQ(MessageOf("source.mnt", "source"), "");
}

TEST_F(CheckPathsTest, RefuseOneInsideTheOther) {
  EXPECT_NE(MessageOf("source", "source/sub").find("lies inside the source"), std::string::npos);
  EXPECT_NE(MessageOf("mnt/sub", "mnt").find("lies inside the mountpoint"), std::string::npos);
  ASSERT_EQ(symlink("source/sub", (folder_ / "alias").c_str()), 0);
  EXPECT_NE(MessageOf("source", "alias").find("lies inside the source"), std::string::npos);
  const auto root = CheckPaths("/", folder_ / "mnt", {});
  ASSERT_FALSE(root);
  EXPECT_NE(root.error().message.find("lies inside the source"), std::string::npos);
}

TEST_F(CheckPathsTest, RefuseWhatIsMissing) {
  EXPECT_EQ(MessageOf("none", "mnt"),
            (folder_ / "none") +
                ": the source can't be opened: No such file or directory; give the "
                "directory of the stored files first, then the mountpoint");
  EXPECT_EQ(MessageOf("source", "none"),
            (folder_ / "none") +
                ": the mountpoint can't be used: No such file or directory; make it "
                "first: mkdir " +
                (folder_ / "none"));
}

TEST_F(CheckPathsTest, RefuseFiles) {
  EXPECT_EQ(MessageOf("file.xz", "mnt"),
            (folder_ / "file.xz") +
                ": not a directory; xzfs mounts directories only: give the directory of "
                "this file");
  EXPECT_EQ(MessageOf("source", "file.xz"),
            (folder_ / "file.xz") + ": the mountpoint is not a directory");
}

class CheckOtherMountsTest : public Test {
 protected:
  static MountEntry XzfsMount(uint64_t id, const std::string& source,
                              const std::string& mountpoint) {
    MountEntry entry;
    entry.id = id;
    entry.type = "fuse.xzfs";
    entry.source = source;
    entry.mountpoint = mountpoint;
    return entry;
  }
  std::string MessageOf(const std::string& source, uint64_t source_mount,
                        const std::string& mountpoint) {
    const auto checked = CheckOtherMounts(source, source_mount, mountpoint, mounts_);
    if (checked) {
      return "";
    }
    EXPECT_EQ(checked.error().code, ExitCode::kMountFailed);
    EXPECT_EQ(checked.error().message.find('\n'), std::string::npos);
    return checked.error().message;
  }

  std::vector<MountEntry> mounts_{XzfsMount(7, "/srv/cold", "/srv/logs")};
};

TEST_F(CheckOtherMountsTest, AllowOtherMountpointsAndOtherSources) {
  EXPECT_EQ(MessageOf("/srv/cold", 1, "/mnt"), "") << "the same source elsewhere";
  EXPECT_EQ(MessageOf("/srv/other", 1, "/srv/logs"), "") << "another source over it";
  EXPECT_EQ(MessageOf("/srv/cold2", 1, "/mnt"), "");
  EXPECT_EQ(MessageOf("/srv/col", 1, "/mnt"), "");
  mounts_.push_back(XzfsMount(8, "/data", "/srv/logs"));
  EXPECT_EQ(MessageOf("/srv/cold", 1, "/srv/logs"), "") << "another one is seen there";
  mounts_.back().type = "ext4";
  EXPECT_EQ(MessageOf("/data/below", 1, "/mnt"), "") << "of another type";
}

TEST_F(CheckOtherMountsTest, RefuseTheSameSourceOnTheSameMountpoint) {
  const std::string message = MessageOf("/srv/cold", 1, "/srv/logs");
  EXPECT_NE(message.find("is already mounted here"), std::string::npos) << message;
  EXPECT_NE(message.find("xzfsctl umount --wait /srv/logs"), std::string::npos) << message;
}

TEST_F(CheckOtherMountsTest, RefuseAMountAsTheSource) {
  EXPECT_NE(MessageOf("/srv/logs", 7, "/mnt").find("is a mount of xzfs"), std::string::npos);
  EXPECT_NE(MessageOf("/srv/logs/sub", 7, "/mnt").find("lies in a mount of xzfs"),
            std::string::npos);
  EXPECT_EQ(MessageOf("/srv/logs", 0, "/mnt"), "") << "it isn't known what lies there";
}

TEST_F(CheckOtherMountsTest, RefuseSourcesInsideEachOther) {
  const std::string below = MessageOf("/srv/cold/2020", 1, "/mnt");
  EXPECT_NE(below.find("lies in /srv/cold"), std::string::npos) << below;
  EXPECT_NE(below.find("use /srv/logs/2020"), std::string::npos) << below;
  EXPECT_NE(MessageOf("/srv", 1, "/mnt").find("contains /srv/cold"), std::string::npos);
  EXPECT_NE(MessageOf("/", 1, "/mnt").find("contains /srv/cold"), std::string::npos);
}

class CheckFuseTest : public Test {
 protected:
  CheckFuseTest() {
    folder_.Write("fuse", "");
    folder_.Write("bin/fusermount3", "");
    chmod((folder_ / "bin/fusermount3").c_str(), 0755);
    folder_.Write("fuse.conf", "# user_allow_other\n");
    host_.user = 1000;
    host_.device = folder_ / "fuse";
    host_.configuration = folder_ / "fuse.conf";
    host_.search_path = "/nonexistent:" + (folder_ / "bin");
  }
  std::string MessageOf(ExitCode code, bool allow_other = false) {
    const auto checked = CheckFuse(host_, allow_other);
    if (checked) {
      return "";
    }
    EXPECT_EQ(checked.error().code, code);
    return checked.error().message;
  }

  TempDir folder_;
  FuseHost host_;
};

TEST_F(CheckFuseTest, PassOnAHealthyHost) { EXPECT_EQ(MessageOf(ExitCode::kSuccess), ""); }

TEST_F(CheckFuseTest, SayHowToGetTheDevice) {
  host_.device = folder_ / "none";
  EXPECT_NE(MessageOf(ExitCode::kSystem).find("modprobe fuse"), std::string::npos);
}

TEST_F(CheckFuseTest, SayWhoMayUseTheDevice) {
  if (geteuid() == 0) {
    GTEST_SKIP() << "root may open everything";
  }
  chmod(host_.device.c_str(), 0);
  EXPECT_NE(MessageOf(ExitCode::kSystem).find("not permitted"), std::string::npos);
}

TEST_F(CheckFuseTest, SayWhichPackageIsMissing) {
  host_.search_path = "/nonexistent:";
  EXPECT_NE(MessageOf(ExitCode::kSystem).find("package fuse3"), std::string::npos);
  host_.user = 0;
  EXPECT_EQ(MessageOf(ExitCode::kSuccess), "") << "root does without";
}

TEST_F(CheckFuseTest, AllowOtherNeedsTheHostsConsentForOrdinaryUsers) {
  EXPECT_NE(MessageOf(ExitCode::kUsage, true).find("user_allow_other"), std::string::npos);
  for (const char* line :
       {"user_allow_other\n", "  user_allow_other # yes", "a=1\nuser_allow_other"}) {
    folder_.Write("fuse.conf", line);
    EXPECT_EQ(MessageOf(ExitCode::kUsage, true), "") << line;
  }
  for (const char* line :
       {"", "#user_allow_other\n", "user_allow_others\n", "x user_allow_other\n"}) {
    folder_.Write("fuse.conf", line);
    EXPECT_NE(MessageOf(ExitCode::kUsage, true), "") << line;
  }
  host_.configuration = folder_ / "none";
  EXPECT_NE(MessageOf(ExitCode::kUsage, true), "");
  host_.user = 0;
  EXPECT_EQ(MessageOf(ExitCode::kUsage, true), "") << "root needs none";
}

TEST_F(CheckFuseTest, AllowOtherIsCheckedBeforeTheDevice) {
  host_.device = folder_ / "none";
  EXPECT_NE(MessageOf(ExitCode::kUsage, true).find("user_allow_other"), std::string::npos);
}

TEST(ExplainMountError, KeepsTheReasonAndNamesTheMountpoint) {
  const Refusal refusal = ExplainMountError({ErrorKind::kSystem, EBUSY, "mount: busy"}, "/m");
  EXPECT_EQ(refusal.code, ExitCode::kMountFailed);
  EXPECT_EQ(refusal.message, "/m: the mount failed: mount: busy");
  EXPECT_GT(ExplainMountError({ErrorKind::kSystem, EPERM, "mount: Operation not permitted"}, "/m")
                .message.size(),
            60u);
}

TEST(ExplainMountError, AddsNothingToWhatFusermountHasSaid) {
  const Error refused{ErrorKind::kSystem, EPERM, "fusermount3 refused"};
  EXPECT_EQ(ExplainMountError(refused, "/m").message.find("set-user-ID"), std::string::npos);
}

}  // namespace
}  // namespace xzfs
