#include "base/units.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

namespace xzfs {
namespace {

TEST(ParseSize, AcceptsEverySuffixOfXzAndThoseThatSizesArePrintedWith) {
  const struct {
    std::vector<std::string> letters;
    uint64_t unit;
  } kUnits[] = {{{"k", "K"}, 1024},
                {{"m", "M"}, 1 << 20},
                {{"g", "G"}, 1 << 30},
                {{"t", "T"}, uint64_t{1} << 40},
                {{"p", "P"}, uint64_t{1} << 50},
                {{"e", "E"}, uint64_t{1} << 60}};
  for (const auto& [letters, unit] : kUnits) {
    for (const std::string& letter : letters) {
      for (const char* rest : {"", "i", "iB", "B"}) {
        const std::string text = "3" + letter + rest;
        const Result<uint64_t> bytes = ParseSize(text);
        ASSERT_TRUE(bytes) << text;
        EXPECT_EQ(*bytes, 3 * unit) << text;
      }
    }
  }
  EXPECT_EQ(ParseSize("0").value(), 0u);
  EXPECT_EQ(ParseSize("65536").value(), 65536u);
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const char* text : {"", "M", "1.5G", "1 MiB", " 1", "1 ", "-1", "+1", "0x10", "1b", "1kib",
                           "1MiBs", "1Z", "1e6", "1Mi ", "one"}) {
    const Result<uint64_t> bytes = ParseSize(text);
    ASSERT_FALSE(bytes) << text;
    EXPECT_EQ(bytes.error().code, EINVAL);
    EXPECT_EQ(bytes.error().message.find('\n'), std::string::npos);
  }
}

TEST(ParseSize, RefusesSizesThatOverflow) {
  EXPECT_EQ(ParseSize("18446744073709551615").value(), UINT64_MAX);
  EXPECT_EQ(ParseSize("17179869183GiB").value(), uint64_t{17179869183} << 30);
  for (const char* text :
       {"18446744073709551616", "17179869184GiB", "16384PiB", "16E", "99999999999999999999K"}) {
    const Result<uint64_t> bytes = ParseSize(text);
    ASSERT_FALSE(bytes) << text;
    EXPECT_NE(bytes.error().message.find("too large"), std::string::npos);
  }
}

TEST(ParseDuration, TakesEachUnitAndFractions) {
  const struct {
    const char* text;
    double seconds;
  } kTimes[] = {{"0", 0},       {"90", 90},       {"90s", 90},          {"1.5m", 90},
                {"12h", 43200}, {"30d", 2592000}, {"2w", 14.0 * 86400}, {"1y", 365.0 * 86400}};
  for (const auto& [text, seconds] : kTimes) {
    const Result<double> parsed = ParseDuration(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_DOUBLE_EQ(*parsed, seconds) << text;
  }
}

TEST(ParseDuration, RefusesTextThatIsNoTime) {
  for (const char* text : {"", "d", "-1d", "30days", "1 d", "1e3s", "nan", "inf", "0x1p3", "11y"}) {
    const Result<double> parsed = ParseDuration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code, EINVAL);
  }
}

TEST(Counted, HasAPluralExceptForOne) {
  EXPECT_EQ(Counted(0, "Block"), "0 Blocks");
  EXPECT_EQ(Counted(1, "Block"), "1 Block");
  EXPECT_EQ(Counted(2, "Block"), "2 Blocks");
}

TEST(FormatSize, HasAtMostFiveDigits) {
  EXPECT_EQ(FormatSize(0), "0 B");
  EXPECT_EQ(FormatSize(9999), "9999 B");
  EXPECT_EQ(FormatSize(10240), "10.0 KiB");
  EXPECT_EQ(FormatSize((uint64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(FormatSize(uint64_t{3} << 29), "1.5 GiB");
  EXPECT_EQ(FormatSize(UINT64_MAX), "16.0 EiB");
}

TEST(FormatDuration, SaysTheTwoLargestUnits) {
  EXPECT_EQ(FormatDuration(0.4), "0 s");
  EXPECT_EQ(FormatDuration(59.6), "1:00 min");
  EXPECT_EQ(FormatDuration(3599), "59:59 min");
  EXPECT_EQ(FormatDuration(7500), "2:05 h");
  EXPECT_EQ(FormatDuration(400000), "4 d");
}

}  // namespace
}  // namespace xzfs
