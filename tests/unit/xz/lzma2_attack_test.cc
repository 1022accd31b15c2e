#include "support/lzma2_attack.h"

#include <gtest/gtest.h>

#include <array>
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
  Lzma2ForeignState foreign_state;
  std::array<uint32_t, 3> outcomes = {};
  for (uint32_t seed = 0; seed < 2000; ++seed) {
    const Lzma2ForeignState::Outcome outcome = foreign_state.Try(RandomBytes(seed, 80));
    ++outcomes[static_cast<size_t>(outcome)];
    ASSERT_NE(outcome, Lzma2ForeignState::Outcome::kHarmful) << seed;
  }
  EXPECT_GT(outcomes[static_cast<size_t>(Lzma2ForeignState::Outcome::kRefused)], 100u);
  EXPECT_GT(outcomes[static_cast<size_t>(Lzma2ForeignState::Outcome::kHarmless)], 100u);
}

TEST(Lzma2AttackTest, FarDistancesGiveTheSameBytes) {
  constexpr size_t kFar = size_t{33} << 20;
  const Lzma2Made made =
      MakeLzma2(RandomBytes(14, 600), nullptr,
                {.most_plain = 2 * kFar, .plain_before = kFar, .dictionary_bytes = 2 * kFar});
  ASSERT_EQ(made.meant, Meant::kValid);
  EXPECT_EQ(Lzma2Comparison().Compare(made, 1), "");
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
