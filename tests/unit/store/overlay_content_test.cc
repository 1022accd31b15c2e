#include "store/overlay_content.h"

#include <gtest/gtest.h>

#include "xzfs/byte_string.h"

namespace xzfs {
namespace {

constexpr LogPublishing kNewBase = {.inode = 5, .size_bytes = 77, .mtime_ns = 8, .birth_ns = 2};

OverlayContent Edited() {
  OverlayContent content(
      {.boot_id = "boot", .inode = 5, .size_bytes = 50, .mtime_ns = 3, .plain_size = 200}, "a", 0);
  content.Replay(LogExtent{10, 20});
  content.Replay(kNewBase);
  return content;
}

OverlayContent Reread(const OverlayContent& content) {
  const std::string log = content.FreshLog();
  const auto parsed = ParseLog(BytesOf(log));
  EXPECT_TRUE(parsed);
  OverlayContent again(std::get<LogHeader>(parsed->lines.front().record), {}, 0);
  for (const ParsedLog::Line& line : parsed->lines) {
    again.Replay(line.record);
  }
  return again;
}

TEST(OverlayContentTest, AFreshLogStillSaysWhetherAChangeCameAfterPublishing) {
  OverlayContent content = Edited();
  EXPECT_FALSE(content.has_changed_since_publishing());
  EXPECT_FALSE(Reread(content).has_changed_since_publishing());
  content.Replay(LogResize{content.size()});
  EXPECT_TRUE(content.has_changed_since_publishing());
  EXPECT_TRUE(Reread(content).has_changed_since_publishing());
  ASSERT_TRUE(Reread(content).published_as());
  EXPECT_TRUE(Reread(content).published_as()->key().Matches(kNewBase.key()));
  content.Replay(kNewBase);
  EXPECT_FALSE(Reread(content).has_changed_since_publishing()) << "it is published again";
}

TEST(OverlayContentTest, OnItsNewBaseTheOverlayHasTheSameBytes) {
  OverlayContent content = Edited();
  content.Replay(LogResize{100});
  content.Replay(LogResize{300});
  content.RebaseOnPublished();
  for (const OverlayContent& now : {content, Reread(content)}) {
    EXPECT_TRUE(now.base().key().Matches(kNewBase.key()));
    EXPECT_FALSE(now.published_as());
    EXPECT_EQ(now.size(), 300U);
    EXPECT_TRUE(now.Holds(10, 30));
    EXPECT_TRUE(now.IsBase(30, 100));
    EXPECT_FALSE(now.IsBase(99, 101)) << "the file was shorter once: the rest is zeros";
  }
}

TEST(OverlayContentTest, RunsCoverARangeOnceUpToTheEnd) {
  OverlayContent content = Edited();
  content.Replay(LogResize{100});
  content.Replay(LogExtent{150, 10});
  using Where = OverlayContent::Run::Where;
  const auto runs = content.Runs(5, 1000);
  const OverlayContent::Run wanted[] = {{5, 10, Where::kBase},
                                        {10, 30, Where::kData},
                                        {30, 100, Where::kBase},
                                        {100, 150, Where::kNowhere},
                                        {150, 160, Where::kData}};
  ASSERT_EQ(runs.size(), std::size(wanted));
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(runs[i].begin, wanted[i].begin);
    EXPECT_EQ(runs[i].end, wanted[i].end);
    EXPECT_EQ(runs[i].where, wanted[i].where) << i;
  }
  EXPECT_TRUE(content.Runs(160, 10).empty());
}

}  // namespace
}  // namespace xzfs
