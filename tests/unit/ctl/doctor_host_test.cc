// What doctor says of a machine that lacks something.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "ctl/doctor/host.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

using Level = Finding::Level;

class DoctorHostTest : public testing::Test {
 protected:
  DoctorHostTest() {
    folder_.Write("proc/filesystems", "nodev\tproc\n\text4\nnodev\tfuse\n");
    folder_.Write("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t0\n");
    folder_.Write("fuse", "");
    folder_.Write("bin/fusermount3", "");
    folder_.Write("fuse.conf", "");
    Program("bin/xzfs", "echo xzfs " XZFS_VERSION "; echo built with something");
    SetMode("bin/fusermount3", 04755);
    host_.fuse = {.user = 1000,
                  .device = folder_ / "fuse",
                  .configuration = folder_ / "fuse.conf",
                  .search_path = folder_ / "bin"};
    host_.proc = folder_ / "proc";
    host_.xzfs = folder_ / "bin/xzfs";
  }

  void SetMode(const std::string& name, mode_t mode) { chmod((folder_ / name).c_str(), mode); }
  void Program(const std::string& name, const std::string& line) {
    folder_.Write(name, "#!/bin/sh\n" + line + "\n");
    SetMode(name, 0755);
  }
  // The finding whose subject ends so.
  Finding Find(const std::string& subject) {
    const Findings findings = LookAtHost(host_);
    const auto found = std::find_if(findings.begin(), findings.end(), [&](const Finding& finding) {
      return finding.subject.ends_with(subject);
    });
    EXPECT_NE(found, findings.end()) << subject;
    return found == findings.end() ? Finding{} : *found;
  }

  TempDir folder_;
  DoctorHost host_;
};

TEST_F(DoctorHostTest, AKernelWithoutFuseIsAProblem) {
  EXPECT_NE(Find("kernel").level, Level::kProblem);
  folder_.Write("proc/filesystems", "nodev\tfusectl\n\tfuseblk\n");
  EXPECT_EQ(Find("kernel").level, Level::kProblem);
  EXPECT_EQ(Find("kernel").command, "modprobe fuse");
}

TEST_F(DoctorHostTest, FusermountMustBeSetUserIdForOrdinaryUsers) {
  struct statvfs fs = {};
  ASSERT_EQ(statvfs(folder_.path().c_str(), &fs), 0);
  if (geteuid() == 0 && (fs.f_flag & ST_NOSUID) == 0) {
    EXPECT_EQ(Find("fusermount3").level, Level::kOk);
  }
  SetMode("bin/fusermount3", 0755);
  EXPECT_EQ(Find("fusermount3").level, Level::kProblem);
  EXPECT_NE(Find("fusermount3").command.find("chmod u+s"), std::string::npos);
}

TEST_F(DoctorHostTest, FusermountIsMissingFromTheSearchPath) {
  host_.fuse.search_path = folder_ / "proc";
  EXPECT_EQ(Find("fusermount3").level, Level::kProblem);
  EXPECT_EQ(Find("fusermount3").command, "apt install fuse3");
}

TEST_F(DoctorHostTest, NoNewPrivilegesMakeSetUserIdProgramsUseless) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can make a program set-user-ID root";
  }
  folder_.Write("proc/self/status", "NoNewPrivs:\t1\n");
  EXPECT_EQ(Find("fusermount3").level, Level::kProblem);
}

TEST_F(DoctorHostTest, RootNeedsTheRightToMountAndNoProgram) {
  host_.fuse.user = 0;
  host_.fuse.search_path = folder_ / "proc";
  EXPECT_EQ(Find("right to mount").level, Level::kOk);
  folder_.Write("proc/self/status", "CapEff:\t00000000a80425fb\n");  // a container's
  EXPECT_EQ(Find("right to mount").level, Level::kProblem);
}

TEST_F(DoctorHostTest, ADeviceThatIsMissingIsAProblem) {
  EXPECT_EQ(Find("/fuse").level, Level::kOk);
  host_.fuse.device = folder_ / "none";
  EXPECT_EQ(Find("/none").level, Level::kProblem);
}

TEST_F(DoctorHostTest, AllowOtherIsANoteForUsersAndNothingForRoot) {
  EXPECT_EQ(Find("fuse.conf").level, Level::kNote);
  host_.fuse.user = 0;
  EXPECT_EQ(Find("fuse.conf").level, Level::kOk);
  host_.fuse.user = 1000;
  folder_.Write("fuse.conf", "user_allow_other\n");
  EXPECT_EQ(Find("fuse.conf").level, Level::kOk);
}

TEST_F(DoctorHostTest, AProgramOfAnotherVersionIsAWarning) {
  EXPECT_EQ(Find("versions").level, Level::kOk);
  EXPECT_NE(Find("versions").text.find("built with something"), std::string::npos);
  Program("bin/xzfs", "echo xzfs 0.0.1-other");
  EXPECT_EQ(Find("versions").level, Level::kWarning);
  host_.xzfs.clear();
  EXPECT_EQ(Find("versions").level, Level::kWarning);
}

}  // namespace
}  // namespace xzfs
