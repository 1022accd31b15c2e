#include "cache/given_units.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace xzfs {
namespace {

uint64_t Remembered(uint64_t file_id, uint64_t unit_bytes, uint64_t count) {
  GivenUnits given;
  for (uint64_t i = 0; i < count; ++i) {
    given.Add({file_id, i * unit_bytes});
  }
  uint64_t remembered = 0;
  for (uint64_t i = 0; i < count; ++i) {
    remembered += given.Has({file_id, i * unit_bytes}) ? 1 : 0;
  }
  return remembered;
}

TEST(GivenUnitsTest, UnitsOfAFileHavePlacesOfTheirOwnWhateverTheirSize) {
  for (uint64_t file_id = 1; file_id < 20; ++file_id) {
    for (int shift = 12; shift <= 30; ++shift) {
      // 1,000 of 65,536 places: two of them share one by chance in 1.5 % of cases.
      EXPECT_GE(Remembered(file_id, uint64_t{1} << shift, 1000), 970U)
          << "file " << file_id << ", units of 2^" << shift;
    }
  }
}

TEST(GivenUnitsTest, AFileIsForgottenAsAWhole) {
  GivenUnits given;
  given.Add({1, 0});
  given.Add({1, 4096});
  given.Add({2, 0});
  given.ForgetFile(1);
  EXPECT_FALSE(given.Has({1, 0}));
  EXPECT_FALSE(given.Has({1, 4096}));
  EXPECT_TRUE(given.Has({2, 0}));
}

}  // namespace
}  // namespace xzfs
