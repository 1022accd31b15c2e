#include "ctl/shell/text_width.h"

#include <gtest/gtest.h>

#include <clocale>
#include <string>

namespace xzfs {
namespace {

TEST(TextWidth, WideCharactersTakeTwoColumnsAndCombiningOnesNone) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr);
  EXPECT_TRUE(ShowsUtf8());
  EXPECT_EQ(ColumnsOf(""), 0u);
  EXPECT_EQ(ColumnsOf("name"), 4u);
  EXPECT_EQ(ColumnsOf("漢字"), 4u);
  EXPECT_EQ(ColumnsOf("e\u0301"), 1u);
  EXPECT_EQ(ColumnsOf("▁█"), 2u);
}

TEST(TextWidth, WithoutUtf8NothingIsTakenForNarrow) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C"), nullptr);
  EXPECT_FALSE(ShowsUtf8());
  EXPECT_EQ(ColumnsOf("name"), 4u);
  EXPECT_EQ(ColumnsOf("é"), 2u);
}

TEST(TextWidth, TextIsCutAtWholeCharacters) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr);
  const std::string text = "ab漢字cd";
  for (size_t columns = 0; columns <= 9; ++columns) {
    EXPECT_LE(ColumnsOf(CutAtEnd(text, columns)), columns);
    EXPECT_TRUE(text.starts_with(CutAtEnd(text, columns)));
  }
  EXPECT_EQ(CutAtEnd(text, 3), "ab");
  EXPECT_EQ(CutAtEnd(text, 4), "ab漢");
  EXPECT_EQ(CutAtFront(text, 8), text);
  EXPECT_EQ(CutAtFront(text, 7), "...字cd");
  EXPECT_EQ(CutAtFront(text, 6), "...cd");
}

TEST(TextWidth, WrongBytesCountOneColumnEach) {
  ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr);
  const std::string text = "\xff\x80\x80name";
  EXPECT_EQ(ColumnsOf(text), 7u);
  EXPECT_EQ(CutAtFront(text, 6), "...ame");
}

}  // namespace
}  // namespace xzfs
