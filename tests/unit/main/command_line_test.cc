#include "main/command_line.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

namespace xzfs {
namespace {

using Action = CommandLine::Action;

CommandLine Parse(const std::vector<std::string>& argv) {
  Result<CommandLine> line = ParseCommandLine(argv, /*by_root=*/false);
  EXPECT_TRUE(line) << line.error().message;
  return line.value_or(CommandLine());
}

std::string MessageOf(const std::vector<std::string>& argv) {
  const Result<CommandLine> line = ParseCommandLine(argv, /*by_root=*/false);
  return line ? "" : line.error().message;
}

TEST(CommandLine, TakesSourceAndMountpointInAnyPlace) {
  for (const auto& argv : std::vector<std::vector<std::string>>{
           {"xzfs", "/s", "m", "-o", "threads=2"},
           {"xzfs", "-o", "threads=2", "/s", "m"},
           {"xzfs", "/s", "-othreads=2", "m"},
           {"/usr/bin/xzfs", "-o", "threads=2", "--", "/s", "m"}}) {
    const CommandLine line = Parse(argv);
    EXPECT_EQ(line.action, Action::kMount);
    EXPECT_EQ(line.source, "/s");
    EXPECT_EQ(line.mountpoint, "m");
    EXPECT_EQ(line.options.threads, 2u);
    EXPECT_FALSE(line.foreground);
  }
}

TEST(CommandLine, JoinsSeveralOptionLists) {
  const CommandLine line = Parse({"xzfs", "s", "m", "-o", "threads=2,noexec", "-o", "threads=3"});
  EXPECT_EQ(line.options.threads, 3u);
  EXPECT_EQ(line.options.mount_flags, (std::vector<std::string>{"nosuid", "nodev", "noexec"}));
}

TEST(CommandLine, GivesLettersTheirFuseMeaning) {
  const CommandLine all = Parse({"xzfs", "-fs", "s", "m"});
  EXPECT_TRUE(all.foreground);
  EXPECT_TRUE(all.single_threaded);
  EXPECT_FALSE(all.debug);
  EXPECT_EQ(all.action, Action::kMount);
  const CommandLine debug = Parse({"xzfs", "-d", "s", "m"});
  EXPECT_TRUE(debug.foreground);
  EXPECT_TRUE(debug.debug);
}

TEST(CommandLine, ShowsHelpAndVersionWithoutFurtherArguments) {
  EXPECT_EQ(Parse({"xzfs", "-h"}).action, Action::kHelp);
  EXPECT_EQ(Parse({"xzfs", "--help"}).action, Action::kHelp);
  EXPECT_EQ(Parse({"xzfs", "-V"}).action, Action::kVersion);
  EXPECT_EQ(Parse({"xzfs", "--version"}).action, Action::kVersion);
  EXPECT_EQ(Parse({"mount.xzfs", "-h"}).action, Action::kHelp);
  EXPECT_TRUE(VersionText().starts_with("xzfs 0."));
  EXPECT_NE(HelpText().find(OptionsHelp()), std::string::npos);
}

TEST(CommandLine, HelpFitsOnAScreen) {
  const std::string help = HelpText();
  EXPECT_LE(std::count(help.begin(), help.end(), '\n'), 48);
}

TEST(CommandLine, AsAMountHelperGivesLettersTheMeaningOfMount) {
  for (const char* name : {"mount.xzfs", "/sbin/mount.xzfs", "/usr/sbin/mount.fuse.xzfs"}) {
    const CommandLine line =
        Parse({name, "/s", "/m", "-n", "-v", "-s", "-t", "fuse.xzfs", "-o", "rw,nofail,zzz"});
    EXPECT_EQ(line.action, Action::kMount);
    EXPECT_EQ(line.source, "/s");
    EXPECT_EQ(line.mountpoint, "/m");
    EXPECT_FALSE(line.single_threaded);
    EXPECT_FALSE(line.foreground);
    EXPECT_EQ(Parse({name, "/s", "/m", "-f"}).action, Action::kNothing);
    EXPECT_EQ(Parse({name, "/s", "/m", "-N", "/proc/1/ns/mnt"}).mount_namespace, "/proc/1/ns/mnt");
  }
}

TEST(CommandLine, OnlyTheHelperKnowsMountsLetters) {
  EXPECT_EQ(MessageOf({"xzfs", "-n", "s", "m"}), "unknown option '-n' (xzfs -h lists the options)");
  EXPECT_EQ(MessageOf({"mount.xzfs", "-d", "s", "m"}),
            "unknown option '-d' (xzfs -h lists the options)");
}

TEST(CommandLine, SloppyHelperForgivesUnknownOptionsButNotWrongValues) {
  EXPECT_NE(MessageOf({"mount.xzfs", "s", "m", "-o", "zzz"}), "");
  EXPECT_EQ(MessageOf({"mount.xzfs", "s", "m", "-o", "zzz", "-s"}), "");
  EXPECT_NE(MessageOf({"mount.xzfs", "s", "m", "-s", "-o", "threads=x"}), "");
}

TEST(CommandLine, AnswersAMistakeWithOneLine) {
  const std::vector<std::vector<std::string>> kWrong = {{"xzfs"},
                                                        {"xzfs", "s"},
                                                        {"xzfs", "", "m"},
                                                        {"xzfs", "a", "b", "c"},
                                                        {"xzfs", "-o"},
                                                        {"xzfs", "-x", "s", "m"},
                                                        {"xzfs", "--verbose", "s", "m"},
                                                        {"xzfs", "s", "m", "-o", "cahce_size=1G"},
                                                        {"mount.xzfs", "s", "m", "-N"}};
  for (const auto& argv : kWrong) {
    const Result<CommandLine> line = ParseCommandLine(argv, /*by_root=*/false);
    ASSERT_FALSE(line);
    EXPECT_EQ(line.error().message.find('\n'), std::string::npos);
    EXPECT_LT(line.error().message.size(), 100u);
  }
  EXPECT_EQ(MessageOf({"xzfs", "-o"}), "option -o needs a value");
  EXPECT_EQ(MessageOf({"xzfs", "--cache_size=1G", "s", "m"}),
            "unknown option '--cache_size=1G' (did you mean -o cache_size?)");
  EXPECT_EQ(MessageOf({"xzfs", "a", "b", "c"}),
            "unexpected argument 'c' after SOURCE and MOUNTPOINT");
}

TEST(CommandLine, NamesTheOptionThatAWordOfLettersMeans) {
  EXPECT_EQ(MessageOf({"xzfs", "-ro", "s", "m"}), "unknown option '-ro' (did you mean -o ro?)");
  EXPECT_EQ(MessageOf({"xzfs", "s", "m", "-fr"}),
            "unknown option '-r' (xzfs -h lists the options)");
  EXPECT_EQ(MessageOf({"xzfs", "-f", "s", "m", "-allow_other"}),
            "unknown option '-allow_other' (did you mean -o allow_other?)");
  EXPECT_EQ(MessageOf({"xzfs", "s", "-rw", "m"}), "unknown option '-rw' (did you mean -o rw?)");
}

// As with libfuse's own helper: mount(8) doesn't pass suid and dev on.
TEST(CommandLine, AsRootsMountHelperHasSetUserIdAndDevicesUnlessTold) {
  using Flags = std::vector<std::string>;
  const auto flags_of = [](const std::vector<std::string>& argv, bool by_root) {
    const Result<CommandLine> line = ParseCommandLine(argv, by_root);
    return line ? line->options.mount_flags : Flags{line.error().message};
  };
  EXPECT_EQ(flags_of({"mount.xzfs", "s", "m"}, true), (Flags{"suid", "dev"}));
  EXPECT_EQ(flags_of({"mount.fuse.xzfs", "s", "m", "-o", "nosuid"}, true),
            (Flags{"dev", "nosuid"}));
  EXPECT_EQ(flags_of({"mount.xzfs", "s", "m"}, false), (Flags{"nosuid", "nodev"}));
  EXPECT_EQ(flags_of({"xzfs", "s", "m"}, true), (Flags{"nosuid", "nodev"}));
}

TEST(CommandLine, MountsForWritingUnlessTheLastWordIsRo) {
  EXPECT_FALSE(Parse({"xzfs", "s", "m"}).options.read_only);
  EXPECT_FALSE(Parse({"xzfs", "s", "m", "-o", "ro,nofail,rw"}).options.read_only);
  EXPECT_TRUE(Parse({"xzfs", "s", "m", "-o", "rw,ro"}).options.read_only);
}

}  // namespace
}  // namespace xzfs
