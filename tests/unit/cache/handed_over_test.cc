#include "cache/handed_over.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace xzfs {
namespace {

uint64_t Remembered(uint64_t file_id, uint64_t unit_bytes, uint64_t count) {
  HandedOver handed_over;
  for (uint64_t i = 0; i < count; ++i) {
    handed_over.Add({file_id, i * unit_bytes});
  }
  uint64_t remembered = 0;
  for (uint64_t i = 0; i < count; ++i) {
    remembered += handed_over.Has({file_id, i * unit_bytes}) ? 1 : 0;
  }
  return remembered;
}

TEST(HandedOverTest, UnitsOfAFileHavePlacesOfTheirOwnWhateverTheirSize) {
  for (uint64_t file_id = 1; file_id < 20; ++file_id) {
    for (int shift = 12; shift <= 30; ++shift) {
      // 1,000 of 65,536 places: two of them share one by chance in 1.5 % of cases.
      EXPECT_GE(Remembered(file_id, uint64_t{1} << shift, 1000), 970U)
          << "file " << file_id << ", units of 2^" << shift;
    }
  }
}

TEST(HandedOverTest, AFileIsForgottenAsAWhole) {
  HandedOver handed_over;
  handed_over.Add({1, 0});
  handed_over.Add({1, 4096});
  handed_over.Add({2, 0});
  handed_over.ForgetFile(1);
  EXPECT_FALSE(handed_over.Has({1, 0}));
  EXPECT_FALSE(handed_over.Has({1, 4096}));
  EXPECT_TRUE(handed_over.Has({2, 0}));
}

}  // namespace
}  // namespace xzfs
