#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "store/xz_writer.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

std::vector<XzPiece> PiecesOf(const XzPlan& plan) {
  std::vector<XzPiece> pieces;
  for (XzPlan::Cursor cursor(plan); const auto piece = cursor.Next();) {
    pieces.push_back(*piece);
  }
  return pieces;
}

// Blocks as "begin-end", with their number if they are reused.
std::string TextOf(const XzPlan& plan) {
  std::string text;
  for (const XzPiece& piece : PiecesOf(plan)) {
    text += std::to_string(piece.begin) + "-" + std::to_string(piece.end);
    text += piece.reused ? "=" + std::to_string(piece.reused->number) + " " : " ";
  }
  return text;
}

class XzPlanTest : public testing::Test {
 protected:
  // Four Blocks: of 10, 10, 10 and 5 bytes.
  const MemFile file_{XzBuilder().AddStream(std::string(35, 'p'), 10).bytes()};
  const BlockIndex base_ = *BlockIndex::Read(file_, Format::kXz, {.memory_limit_bytes = 1 << 20});

  XzPlan Plan(uint64_t size, uint64_t changed_begin, uint64_t changed_end,
              Check check = kCheckCrc64) {
    return XzPlan(size, 8, check, base_, [=](uint64_t begin, uint64_t end) {
      return end <= changed_begin || begin >= changed_end;
    });
  }
};

TEST_F(XzPlanTest, AnEmptyFileHasNoPieces) {
  EXPECT_EQ(TextOf(XzPlan()), "");
  EXPECT_EQ(XzPlan(0, 4096).piece_count(), 0U);
}

TEST_F(XzPlanTest, UnchangedBlocksAreReusedAndTheRestIsCut) {
  EXPECT_EQ(TextOf(Plan(35, 35, 35)), "0-10=0 10-20=1 20-30=2 30-35=3 ");
  EXPECT_EQ(TextOf(Plan(35, 12, 13)), "0-10=0 10-18 18-20 20-30=2 30-35=3 ");
  EXPECT_EQ(TextOf(Plan(35, 9, 21)), "0-8 8-16 16-24 24-30 30-35=3 ");
  EXPECT_EQ(TextOf(Plan(35, 0, 1)), "0-8 8-10 10-20=1 20-30=2 30-35=3 ");
}

TEST_F(XzPlanTest, AppendedBytesAreEncodedWithAShortLastBlock) {
  EXPECT_EQ(TextOf(Plan(36, 35, 36)), "0-10=0 10-20=1 20-30=2 30-36 ");
  EXPECT_EQ(TextOf(Plan(34, 35, 35)), "0-10=0 10-20=1 20-30=2 30-34 ");
}

TEST_F(XzPlanTest, BlocksOfAnotherCheckAreEncoded) {
  EXPECT_EQ(TextOf(Plan(20, 35, 35, kCheckCrc32)), "0-8 8-16 16-20 ");
}

TEST_F(XzPlanTest, ItsFiguresAreThoseOfItsPieces) {
  for (const uint64_t size : std::initializer_list<uint64_t>{0, 7, 20, 30, 34, 35, 36, 100}) {
    for (uint64_t changed = 0; changed <= size; changed += 3) {
      const XzPlan plan = Plan(size, changed, changed + 2);
      const std::vector<XzPiece> pieces = PiecesOf(plan);
      EXPECT_EQ(plan.piece_count(), pieces.size());
      EXPECT_EQ(plan.size(), size);
      uint64_t largest = 0;
      uint64_t at = 0;
      for (const XzPiece& piece : pieces) {
        EXPECT_EQ(piece.begin, at);
        at = piece.end;
        largest = std::max(largest, piece.end - piece.begin);
      }
      EXPECT_EQ(at, size);
      EXPECT_EQ(plan.largest_piece(), largest);
    }
  }
}

// It would not end, or run out of memory, if it stored anything for each piece.
TEST_F(XzPlanTest, TheSizeMayBeWhateverAFileClaims) {
  const XzPlan plan(uint64_t{1} << 62, 4096);
  EXPECT_EQ(plan.piece_count(), uint64_t{1} << 50);
  XzPlan::Cursor cursor(plan);
  EXPECT_EQ(cursor.Next()->end, 4096U);
  EXPECT_EQ(cursor.Next()->end, 8192U);
}

}  // namespace
}  // namespace xzfs
