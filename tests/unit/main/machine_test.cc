#include "base/machine.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <string>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A root folder whose /proc says that we are in these control groups.
class Machine : public testing::Test {
 protected:
  void SetGroups(const std::string& cgroup, const std::string& mountinfo) {
    root_.Write("proc/self/cgroup", cgroup);
    root_.Write("proc/self/mountinfo", mountinfo);
  }
  void Unified() {
    SetGroups("0::/a.slice/b\n",
              "22 1 0:21 / /proc rw - proc proc rw\n"
              "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n");
  }
  uint64_t Memory() const { return UsableMemory(root_.path()); }
  unsigned Processors() const { return UsableProcessors(root_.path()); }

  TempDir root_;
};

TEST_F(Machine, WithoutGroupsHasThePhysicalLimits) {
  EXPECT_GT(Memory(), 16 * kMiB);
  EXPECT_GE(Processors(), 1u);
}

TEST_F(Machine, HonoursTheMemoryLimitOfVersion2) {
  Unified();
  root_.Write("sys/fs/cgroup/a.slice/b/memory.max", "10485760\n");
  EXPECT_EQ(Memory(), 10 * kMiB);
}

TEST_F(Machine, HonoursTheThrottlingLimitOfVersion2) {
  Unified();
  root_.Write("sys/fs/cgroup/a.slice/b/memory.max", "10485760\n");
  root_.Write("sys/fs/cgroup/a.slice/b/memory.high", "9437184\n");
  EXPECT_EQ(Memory(), 9 * kMiB);
}

TEST_F(Machine, TakesTheSmallestLimitOnTheWayUp) {
  Unified();
  root_.Write("sys/fs/cgroup/a.slice/b/memory.max", "max\n");
  root_.Write("sys/fs/cgroup/a.slice/memory.max", "8388608\n");
  root_.Write("sys/fs/cgroup/memory.max", "16777216\n");
  EXPECT_EQ(Memory(), 8 * kMiB);
}

TEST_F(Machine, IgnoresLimitsOfOtherGroups) {
  Unified();
  const uint64_t before = Memory();
  root_.Write("sys/fs/cgroup/a.slice/c/memory.max", "8388608\n");
  EXPECT_EQ(Memory(), before);
}

TEST_F(Machine, HonoursTheMemoryLimitOfVersion1) {
  SetGroups("9:name=systemd:/\n4:cpu,memory:/x/y\n0::/\n",
            "34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
            "35 31 0:32 / /sys/fs/cgroup/cpu,memory rw - cgroup cgroup rw,cpu,memory\n");
  root_.Write("sys/fs/cgroup/cpu,memory/x/y/memory.limit_in_bytes", "9223372036854771712\n");
  root_.Write("sys/fs/cgroup/cpu,memory/x/memory.limit_in_bytes", "7340032\n");
  EXPECT_EQ(Memory(), 7 * kMiB);
}

TEST_F(Machine, FindsItsPartOfTheHierarchyInAContainer) {
  SetGroups("4:memory:/docker/abc/inner\n",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  root_.Write("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "6291456\n");
  EXPECT_EQ(Memory(), 6 * kMiB);
}

TEST_F(Machine, AsksTheMountedTopIfItsOwnGroupIsNotVisible) {
  SetGroups("0::/../../other\n", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  root_.Write("sys/fs/cgroup/memory.max", "5242880\n");
  EXPECT_EQ(Memory(), 5 * kMiB);
  SetGroups("0::/kube/pod\n", "31 23 0:28 /kube/po /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  EXPECT_EQ(Memory(), 5 * kMiB);
}

TEST_F(Machine, FindsMountpointsWithSpaces) {
  SetGroups("0::/\n", "31 23 0:28 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
  root_.Write("my groups/memory.max", "4194304\n");
  EXPECT_EQ(Memory(), 4 * kMiB);
}

TEST_F(Machine, RoundsTheProcessorQuotaUp) {
  Unified();
  root_.Write("sys/fs/cgroup/a.slice/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(Processors(), 1u);
  const unsigned all = UsableProcessors("/nonexistent");
  if (all < 2) {
    GTEST_SKIP() << "one processor only";
  }
  root_.Write("sys/fs/cgroup/a.slice/b/cpu.max", "110000 100000\n");
  EXPECT_EQ(Processors(), 2u);
}

TEST_F(Machine, NeverHasMoreProcessorsThanItsMask) {
  Unified();
  const unsigned all = UsableProcessors("/nonexistent");
  for (const char* quota :
       {"max 100000\n", "18446744073709551615 1\n", "0 100000\n", "5\n", "\n"}) {
    root_.Write("sys/fs/cgroup/a.slice/b/cpu.max", quota);
    EXPECT_EQ(Processors(), all) << quota;
  }
}

TEST_F(Machine, HonoursTheProcessorQuotaOfVersion1) {
  SetGroups("4:cpu,cpuacct:/x\n",
            "35 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
  const unsigned all = UsableProcessors("/nonexistent");
  root_.Write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
  root_.Write("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Processors(), all);
  root_.Write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "30000\n");
  EXPECT_EQ(Processors(), 1u);
}

TEST_F(Machine, HonoursTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (size_t i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &before)) {
      CPU_SET(i, &one);
      break;
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(Processors(), 1u);
  sched_setaffinity(0, sizeof before, &before);
}

TEST(DescriptorLimit, IsRaisedToTheHardLimit) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(RaiseDescriptorLimit(), limit.rlim_max);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
}

}  // namespace
}  // namespace xzfs
