#include "fs/options.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "base/machine.h"

namespace xzfs {
namespace {

std::string MessageOf(const std::string& option) {
  Options options;
  const Status status = ApplyOption(option, options);
  return status ? "" : status.error().message;
}

bool HasFlag(const Options& options, const std::string& flag) {
  return std::count(options.mount_flags.begin(), options.mount_flags.end(), flag) == 1;
}

TEST(ApplyOption, SetsEveryOption) {
  Options options;
  for (const char* option : {"cache_size=512MiB", "threads=3", "whole_block_limit=1M",
                             "verify=stream", "restart_file_size=3GiB", "attr_timeout=2.5",
                             "entry_timeout=0", "allow_other", "rw", "noexec"}) {
    ASSERT_TRUE(ApplyOption(option, options)) << option;
  }
  EXPECT_EQ(options.cache_size_bytes, uint64_t{512} << 20);
  EXPECT_EQ(options.threads, 3u);
  EXPECT_EQ(options.whole_block_limit_bytes, uint64_t{1} << 20);
  EXPECT_TRUE(options.verify_stream);
  EXPECT_EQ(options.restart_file_size_bytes, uint64_t{3} << 30);
  EXPECT_EQ(options.attr_timeout_s, 2.5);
  EXPECT_EQ(options.entry_timeout_s, 0.0);
  EXPECT_TRUE(options.allow_other);
  EXPECT_FALSE(options.read_only);
  EXPECT_TRUE(HasFlag(options, "noexec"));
}

TEST(ApplyOption, SetsTheOptionsOfCompression) {
  Options options;
  for (const char* option : {"ro", "compress=off", "preset=9e", "block_size=64KiB", "check=sha256",
                             "settle=0.5", "sync_close", "exclude=*.db", "exclude=tmp/*",
                             "min_size=4K", "min_saving=2.5%", "compress_threads=2", "noacl"}) {
    ASSERT_TRUE(ApplyOption(option, options)) << option;
  }
  EXPECT_TRUE(options.read_only);
  EXPECT_EQ(options.compress, Compress::kOff);
  EXPECT_EQ(options.preset, 9u);
  EXPECT_TRUE(options.extreme);
  EXPECT_EQ(options.block_size_bytes, uint64_t{64} << 10);
  EXPECT_EQ(options.check, Check::kSha256);
  EXPECT_EQ(options.settle_s, 0.5);
  EXPECT_TRUE(options.sync_close);
  EXPECT_EQ(options.excludes, (std::vector<std::string>{"*.db", "tmp/*"}));
  EXPECT_EQ(options.min_size_bytes, 4096u);
  EXPECT_EQ(options.min_saving_percent, 2.5);
  EXPECT_EQ(options.compress_threads, 2u);
  EXPECT_FALSE(options.acl);
}

TEST(ApplyOption, RefusesPresetsBlocksAndChecksThatXzDoesNotHave) {
  for (const char* option :
       {"preset=10", "preset=e", "preset=6x", "preset=-1", "block_size=1", "block_size=2GiB",
        "check=md5", "compress=never", "settle=-1", "settle=1000000000", "min_size=x",
        "min_saving=x", "min_saving=-1", "min_saving=101", "min_saving=1%%", "min_saving=%"}) {
    Options options;
    EXPECT_FALSE(ApplyOption(option, options)) << option;
  }
}

TEST(ApplyOption, MountsWithoutSetUserIdAndDevicesUnlessTold) {
  Options options;
  EXPECT_TRUE(HasFlag(options, "nosuid"));
  EXPECT_TRUE(HasFlag(options, "nodev"));
  for (const char* option : {"suid", "dev", "noexec", "exec"}) {
    ASSERT_TRUE(ApplyOption(option, options));
  }
  EXPECT_EQ(options.mount_flags, (std::vector<std::string>{"suid", "dev"}));
  for (const char* option : {"nosuid", "nosuid", "nodev"}) {
    ASSERT_TRUE(ApplyOption(option, options));
  }
  EXPECT_EQ(options.mount_flags, (std::vector<std::string>{"nosuid", "nodev"}));
}

TEST(ApplyOption, IgnoresWordsForOtherReadersOfFstab) {
  for (const char* option : {"defaults",
                             "nofail",
                             "_netdev",
                             "auto",
                             "noauto",
                             "user",
                             "user=joe",
                             "nouser",
                             "users",
                             "owner",
                             "group",
                             "relatime",
                             "norelatime",
                             "strictatime",
                             "diratime",
                             "nodiratime",
                             "noatime",
                             "lazytime",
                             "comment=hello there",
                             "x-systemd.automount",
                             "x-gvfs-hide",
                             "X-mount.mkdir=0755",
                             "sync",
                             "async",
                             "dirsync"}) {
    Options options;
    EXPECT_TRUE(ApplyOption(option, options)) << option;
    EXPECT_EQ(options.mount_flags, Options().mount_flags) << option;
  }
}

TEST(ApplyOption, TakesWordsOfOtherFileSystemsThatAskForWhatHappensAnyway) {
  for (const char* option : {"nonempty", "kernel_cache", "use_ino", "big_writes", "subtype=xzfs"}) {
    Options options;
    EXPECT_TRUE(ApplyOption(option, options)) << option;
  }
}

TEST(ApplyOption, SaysWhatToUseInsteadOfOptionsOfOtherFileSystems) {
  EXPECT_NE(MessageOf("uid=1000").find("files keep the owners"), std::string::npos);
  EXPECT_NE(MessageOf("umask=022").find("bindfs"), std::string::npos);
  EXPECT_NE(MessageOf("allow_root").find("allow_other"), std::string::npos);
  EXPECT_NE(MessageOf("auto_unmount").find("xzfsctl umount"), std::string::npos);
  for (const char* option : {"uid=1", "gid=1", "fsname=x", "max_read=4096", "auto_unmount"}) {
    EXPECT_EQ(MessageOf(option).find("did you mean"), std::string::npos) << option;
    EXPECT_EQ(MessageOf(option).find('\n'), std::string::npos) << option;
  }
}

TEST(ApplyOption, NamesTheNearestOptionForAnUnknownOne) {
  EXPECT_EQ(MessageOf("cahce_size=1G"), "unknown option 'cahce_size' (did you mean cache_size?)");
  EXPECT_EQ(MessageOf("cachesize"), "unknown option 'cachesize' (did you mean cache_size?)");
  EXPECT_EQ(MessageOf("alow_other"), "unknown option 'alow_other' (did you mean allow_other?)");
  EXPECT_EQ(MessageOf("noexce"), "unknown option 'noexce' (did you mean noexec?)");
  EXPECT_EQ(MessageOf("thread=2"), "unknown option 'thread' (did you mean threads?)");
}

TEST(ApplyOption, GuessesNothingWhenNothingIsNear) {
  EXPECT_EQ(MessageOf("dedup=9"), "unknown option 'dedup' (xzfs -h lists the options)");
  EXPECT_EQ(MessageOf("x"), "unknown option 'x' (xzfs -h lists the options)");
}

TEST(ApplyOption, TellsUnknownNamesFromWrongValues) {
  Options options;
  EXPECT_EQ(ApplyOption("nonsense", options).error().code, ENOENT);
  EXPECT_EQ(ApplyOption("threads=many", options).error().code, EINVAL);
}

TEST(ApplyOption, SaysWhichValueIsWrong) {
  EXPECT_EQ(MessageOf("cache_size=1M"), "cache_size=1M is too small: the least is 32MiB");
  EXPECT_EQ(MessageOf("cache_size=0"), "cache_size=0 is too small: the least is 32MiB");
  EXPECT_EQ(MessageOf("cache_size=1.5G"),
            "cache_size: '1.5G' is not a size, such as 512MiB or 2TiB");
  EXPECT_EQ(MessageOf("cache_size"), "option cache_size needs a value: cache_size=SIZE");
  EXPECT_EQ(MessageOf("cache_size="), "option cache_size needs a value: cache_size=SIZE");
  EXPECT_EQ(MessageOf("allow_other=1"), "option allow_other takes no value");
  EXPECT_NE(MessageOf("threads=-1"), "");
  EXPECT_NE(MessageOf("threads=1.5"), "");
  EXPECT_NE(MessageOf("threads=1000000"), "");
  EXPECT_NE(MessageOf("verify=later"), "");
  EXPECT_NE(MessageOf("whole_block_limit=0"), "");
  EXPECT_NE(MessageOf("remount").find("unmount"), std::string::npos);
  for (const char* value : {"-1", "nan", "inf", "1s", "0x1", "1e400", "1e99", " 1"}) {
    EXPECT_NE(MessageOf(std::string("attr_timeout=") + value), "") << value;
    EXPECT_NE(MessageOf(std::string("entry_timeout=") + value), "") << value;
  }
}

TEST(SplitOptionList, SplitsAtCommasThatAreNotEscaped) {
  using List = std::vector<std::string>;
  EXPECT_EQ(SplitOptionList("a,b=c"), (List{"a", "b=c"}));
  EXPECT_EQ(SplitOptionList(",a,,b,"), (List{"a", "b"}));
  EXPECT_EQ(SplitOptionList("comment=x\\,y,z"), (List{"comment=x,y", "z"}));
  EXPECT_EQ(SplitOptionList("a\\\\,b"), (List{"a\\", "b"}));
  EXPECT_EQ(SplitOptionList("a\\b\\"), (List{"a\\b\\"}));
  EXPECT_TRUE(SplitOptionList("").empty());
}

TEST(ResolveDefaults, FitTheMachine) {
  Options options;
  ASSERT_TRUE(ResolveDefaults(options));
  EXPECT_EQ(options.cache_size_bytes,
            std::clamp(UsableMemory() / 4, kMinCacheBytes, uint64_t{4} << 30));
  EXPECT_EQ(options.threads, UsableProcessors());
  EXPECT_EQ(options.whole_block_limit_bytes,
            std::min(uint64_t{32} << 20, options.cache_size_bytes / 8));
}

TEST(ResolveDefaults, KeepWhatWasGiven) {
  Options options;
  options.cache_size_bytes = uint64_t{64} << 20;
  options.threads = 7;
  ASSERT_TRUE(ResolveDefaults(options));
  EXPECT_EQ(options.cache_size_bytes, uint64_t{64} << 20);
  EXPECT_EQ(options.threads, 7u);
  EXPECT_EQ(options.whole_block_limit_bytes, uint64_t{8} << 20);
}

TEST(ResolveDefaults, RefuseWholeBlocksLargerThanTheCache) {
  Options options;
  options.cache_size_bytes = kMinCacheBytes;
  options.whole_block_limit_bytes = kMinCacheBytes + 1;
  EXPECT_FALSE(ResolveDefaults(options));
}

TEST(OptionsHelp, HasALineForEachOption) {
  const std::string help = OptionsHelp();
  for (const char* line :
       {"  cache_size=SIZE ", "  threads=N ", "  whole_block_limit=SIZE ", "  attr_timeout=SEC ",
        "  entry_timeout=SEC ", "  allow_other ", "  ro "}) {
    EXPECT_NE(help.find(line), std::string::npos) << line;
  }
  for (size_t begin = 0; begin < help.size(); begin = help.find('\n', begin) + 1) {
    EXPECT_LE(help.find('\n', begin) - begin, 95u) << help.substr(begin);
  }
}

TEST(RestartFileSize, IsBoundedByTheFreeSpaceUnlessGiven) {
  Options options;
  ASSERT_TRUE(ResolveDefaults(options));
  ASSERT_TRUE(options.restart_file_size_bytes);
  EXPECT_LE(*options.restart_file_size_bytes, uint64_t{2} << 30);
  EXPECT_EQ(FreeSpace("/nowhere/at/all"), 0u);
  Options none;
  ASSERT_TRUE(ApplyOption("restart_file_size=0", none));
  ASSERT_TRUE(ResolveDefaults(none));
  EXPECT_EQ(none.restart_file_size_bytes, 0u);
  EXPECT_NE(MessageOf("restart_file_size=big").find("restart_file_size"), std::string::npos);
}

}  // namespace
}  // namespace xzfs
