#include "support/lzma2_attack.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/choices.h"
#include "support/lzma2_maker.h"

namespace xzfs {
namespace {

using Kind = Lzma2Attack::Kind;
using Meant = Lzma2Made::Meant;

// Random input of that kind; every 64th is large.
std::string TryRandom(Lzma2Attack& attack, Kind kind, uint32_t seed) {
  std::vector<uint8_t> input = RandomBytes(seed, seed % 64 == 0 ? 3000 : 24 + seed % 100);
  input[0] = static_cast<uint8_t>(kind);
  return attack.Try(input);
}

TEST(Lzma2AttackTest, OurDecoderSaysWhatLiblzmaSaysOfDataThatIsMade) {
  Lzma2Attack attack;
  for (uint32_t seed = 0; seed < 1500; ++seed) {
    ASSERT_EQ(TryRandom(attack, Kind::kMade, seed), "") << seed;
  }
}

TEST(Lzma2AttackTest, OurDecoderSaysWhatLiblzmaSaysOfDataThatIsChanged) {
  Lzma2Attack attack;
  for (uint32_t seed = 0; seed < 1500; ++seed) {
    ASSERT_EQ(TryRandom(attack, Kind::kChanged, seed), "") << seed;
  }
}

TEST(Lzma2AttackTest, AStateFromElsewhereDoesNoHarm) {
  using Outcome = Lzma2ForeignState::Outcome;
  Lzma2ForeignState foreign_state;
  uint32_t refused = 0;
  constexpr uint32_t kSeeds = 2000;
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Outcome outcome = foreign_state.Try(RandomBytes(seed, 80));
    refused += outcome == Outcome::kRefused ? 1 : 0;
    ASSERT_TRUE(outcome == Outcome::kRefused || outcome == Outcome::kHarmless) << seed;
  }
  EXPECT_GT(refused, kSeeds / 5);
  EXPECT_LT(refused, kSeeds / 5 * 4);
}

TEST(Lzma2AttackTest, FarDistancesGiveTheSameBytes) {
  constexpr size_t kFar = size_t{33} << 20;
  const Lzma2Made made =
      MakeLzma2(RandomBytes(14, 600), nullptr,
                {.most_plain = 2 * kFar, .plain_before = kFar, .dictionary_bytes = 2 * kFar});
  ASSERT_EQ(made.meant, Meant::kValid);
  EXPECT_EQ(Lzma2Comparison().Compare(made, 1), "");
}

// A code that isn't below its range: what comes of it are bits that are 1, until it overflows to 0.
TEST(Lzma2AttackTest, WhatNoEncoderWritesIsDecodedAsLiblzmaDoes) {
  const std::vector<uint8_t> data = {1,    0,    0,    'A',  0xC0, 0x02, 0x23, 0,    8,    0x5D,
                                     0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0x51, 0xCD, 0x20, 0x00, 0x00};
  constexpr size_t kPlain = 549;
  for (uint32_t seed = 0; seed < 10; ++seed) {
    EXPECT_EQ(Lzma2Comparison().Compare(data, 1 << 16, 2 * kPlain, seed), "");
  }
}

// What compares must be able to find something.
TEST(Lzma2AttackTest, ADifferenceIsToldInWords) {
  Lzma2Comparison comparison;
  Lzma2Made made = MakeLzma2(RandomBytes(3, 200), nullptr, {.fault = Lzma2Fault::kNone});
  ASSERT_FALSE(made.plain.empty());
  ASSERT_EQ(comparison.Compare(made, 1), "");
  made.plain.back() ^= 1;
  EXPECT_NE(comparison.Compare(made, 1), "");
  made.plain.pop_back();
  EXPECT_NE(comparison.Compare(made, 1), "");
  made.meant = Meant::kDamaged;
  EXPECT_NE(comparison.Compare(made, 1), "");
}

}  // namespace
}  // namespace xzfs
