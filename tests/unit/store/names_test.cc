#include "store/names.h"

#include <gtest/gtest.h>

namespace xzfs {
namespace {

std::string Logical(std::string_view stored) {
  const auto stripped = StripSuffix(stored);
  return stripped ? stripped->logical : "(itself)";
}

TEST(NamesTest, StripsTheSuffixesOfCompressedFiles) {
  EXPECT_EQ(Logical("a.log.xz"), "a.log");
  EXPECT_EQ(Logical("a.txz"), "a.tar");
  EXPECT_EQ(Logical("a.tlz"), "a.tar");
  EXPECT_EQ(Logical("a.lzma"), "a");
  EXPECT_EQ(Logical("a.lz"), "a");
  EXPECT_EQ(Logical("a.xz.xz"), "a.xz");
}

TEST(NamesTest, KeepsNamesThatWouldLeaveNothing) {
  for (const char* name : {".xz", "..xz", "...xz", ".txz", "xz", "a", "a.XZ", "a.xz~", ""}) {
    EXPECT_EQ(Logical(name), "(itself)") << name;
  }
}

TEST(NamesTest, ANameIsBytes) { EXPECT_EQ(Logical("\xff\xfe\n.xz"), "\xff\xfe\n"); }

TEST(NamesTest, KeepsANameThatWouldGrowTooLong) {
  EXPECT_EQ(Logical(std::string(251, 'a') + ".txz"), std::string(251, 'a') + ".tar");
  EXPECT_EQ(Logical(std::string(255, 'a') + ".txz"), "(itself)");
}

TEST(NamesTest, ListsStoredNamesByImportance) {
  EXPECT_EQ(CompressedNamesOf("a"), (std::vector<std::string>{"a.xz", "a.lzma", "a.lz"}));
  EXPECT_EQ(CompressedNamesOf("a.tar"),
            (std::vector<std::string>{"a.tar.xz", "a.txz", "a.tar.lzma", "a.tar.lz", "a.tlz"}));
}

TEST(NamesTest, EveryListedStoredNameStripsBack) {
  for (const std::string logical : {"a", "a.tar", "x.xz", ".tar", ".hidden"}) {
    for (const std::string& stored : CompressedNamesOf(logical)) {
      EXPECT_EQ(Logical(stored), logical) << stored;
    }
  }
}

TEST(NamesTest, LeavesOutStoredNamesThatAreTooLong) {
  EXPECT_EQ(CompressedNamesOf(std::string(252, 'a')).size(), 2u);
  EXPECT_TRUE(CompressedNamesOf(std::string(255, 'a')).empty());
}

TEST(NamesTest, StripsOnlyLinkTargetsThatNameACompressedFile) {
  EXPECT_EQ(StripLinkTarget("dir/a.xz"), "dir/a");
  EXPECT_FALSE(StripLinkTarget("dir/.xz"));
  EXPECT_FALSE(StripLinkTarget(".xz"));
  EXPECT_FALSE(StripLinkTarget("a"));
}

}  // namespace
}  // namespace xzfs
