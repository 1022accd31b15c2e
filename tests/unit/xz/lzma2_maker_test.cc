#include "support/lzma2_maker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "support/choices.h"
#include "support/lzma2_oracle.h"

namespace xzfs {
namespace {

using Meant = Lzma2Made::Meant;

constexpr uint32_t kSeeds = 4000;
constexpr size_t kMostPlain = size_t{64} << 20;

// Most seeds have few choices: then there is much of what is chosen first.
Lzma2Made MakeFrom(uint32_t seed, Lzma2Coverage* coverage) {
  return MakeLzma2(RandomBytes(seed, seed % 32 == 0 ? 4000 : 16 + seed % 80), coverage);
}

// What is made of all seeds.
class Lzma2MakerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    for (uint32_t seed = 0; seed < kSeeds; ++seed) {
      const Lzma2Made made = MakeFrom(seed, &coverage_);
      ++faults_[static_cast<size_t>(made.fault)];
    }
  }
  static void TearDownTestSuite() { coverage_ = {}; }

  static Lzma2Coverage coverage_;
  static std::array<uint64_t, kLzma2Faults> faults_;
};

Lzma2Coverage Lzma2MakerTest::coverage_;
std::array<uint64_t, kLzma2Faults> Lzma2MakerTest::faults_ = {};

uint64_t Sum(const Lzma2Coverage::LengthCounts& counts, size_t begin, size_t end) {
  return std::accumulate(counts.begin() + static_cast<ptrdiff_t>(begin),
                         counts.begin() + static_cast<ptrdiff_t>(end), uint64_t{0});
}

TEST_F(Lzma2MakerTest, LiblzmaDecodesWhatIsValidToTheSameBytesAndRefusesWhatIsDamaged) {
  Lzma2Oracle oracle;
  std::array<std::array<uint64_t, kLzma2Faults>, 2> verdicts = {};
  for (uint32_t seed = 0; seed < kSeeds; ++seed) {
    const Lzma2Made made = MakeFrom(seed, nullptr);
    const Lzma2Oracle::Answer answer = oracle.Decode(made.data, made.dictionary_bytes, kMostPlain);
    SCOPED_TRACE("seed " + std::to_string(seed) + ", fault " +
                 std::to_string(static_cast<int>(made.fault)));
    ++verdicts[answer.is_valid ? 1 : 0][static_cast<size_t>(made.fault)];
    if (made.meant != Meant::kEither) {
      ASSERT_EQ(answer.is_valid, made.meant == Meant::kValid);
    }
    if (made.meant == Meant::kValid) {
      ASSERT_TRUE(answer.plain == made.plain);
      ASSERT_EQ(answer.used, made.end);
    } else {
      const size_t both = std::min(answer.plain.size(), made.plain.size());
      ASSERT_TRUE(std::equal(made.plain.begin(), made.plain.begin() + static_cast<ptrdiff_t>(both),
                             answer.plain.begin()));
      if (made.fault < Lzma2Fault::kTruncated) {
        ASSERT_EQ(both, made.plain.size()) << "the fault comes too early";
      }
    }
  }
  EXPECT_GT(verdicts[1][static_cast<size_t>(Lzma2Fault::kNone)], kSeeds / 3);
}

TEST_F(Lzma2MakerTest, EveryFaultIsMade) {
  for (size_t fault = 0; fault < kLzma2Faults; ++fault) {
    EXPECT_GT(faults_[fault], 5u) << fault;
  }
}

TEST_F(Lzma2MakerTest, EveryKindOfSymbolComesInEveryState) {
  for (size_t state = 0; state < coverage_.symbols.size(); ++state) {
    for (size_t kind = 0; kind < LzmaSymbol::kKinds; ++kind) {
      EXPECT_GT(coverage_.symbols[state][kind], 50u) << "state " << state << ", kind " << kind;
    }
  }
}

TEST_F(Lzma2MakerTest, EveryLengthComes) {
  for (size_t length = LzmaSymbol::kShortest; length <= LzmaSymbol::kLongest; ++length) {
    EXPECT_GT(coverage_.match_lengths[length], 0u) << length;
    EXPECT_GT(coverage_.rep_lengths[length], 0u) << length;
  }
  for (const Lzma2Coverage::LengthCounts& counts :
       {coverage_.match_lengths, coverage_.rep_lengths}) {
    EXPECT_GT(Sum(counts, 2, 10), 10000u);
    EXPECT_GT(Sum(counts, 10, 18), 10000u);
    EXPECT_GT(Sum(counts, 18, 274), 10000u);
  }
}

TEST_F(Lzma2MakerTest, EveryChunkComesWithAllProperties) {
  for (size_t chunk = 0; chunk < Lzma2Coverage::kChunks; ++chunk) {
    EXPECT_GT(coverage_.chunks[chunk], 100u) << chunk;
  }
  EXPECT_EQ(coverage_.properties.size(), 75u);
  EXPECT_GT(coverage_.resets_inside, 100u);
  EXPECT_GT(coverage_.chunks_of_one_byte, 100u);
  EXPECT_GT(coverage_.full_plain_chunks, 10u);
  EXPECT_GT(coverage_.full_lzma_chunks, 10u);
  EXPECT_GT(coverage_.full_compressed, 5u);
}

TEST_F(Lzma2MakerTest, DistancesReachExactlyAsFarAsTheyMay) {
  EXPECT_GT(coverage_.distances_to_the_reset, 1000u);
  EXPECT_GT(coverage_.distances_of_the_dictionary, 1000u);
  for (size_t slot = 0; slot < 40; ++slot) {
    EXPECT_GT(coverage_.slots[slot], 100u) << slot;
  }
}

TEST(Lzma2MakerFarTest, DistancesThatAreTooFarHaveEverySlot) {
  Lzma2Coverage coverage;
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    MakeLzma2(RandomBytes(seed, 100), &coverage, {.fault = Lzma2Fault::kDistance});
  }
  for (size_t slot = 0; slot < 64; ++slot) {
    EXPECT_GT(coverage.faulty_slots[slot], 0u) << slot;
  }
}

TEST(Lzma2MakerFarTest, ALargeDictionaryHasFarDistances) {
  constexpr size_t kFar = size_t{33} << 20;
  Lzma2Coverage coverage;
  const std::vector<uint8_t> choices = RandomBytes(14, 600);
  const Lzma2Made made =
      MakeLzma2(choices, &coverage,
                {.most_plain = 2 * kFar, .plain_before = kFar, .dictionary_bytes = 2 * kFar});
  ASSERT_EQ(made.meant, Meant::kValid);
  ASSERT_GT(made.plain.size(), kFar);
  const Lzma2Oracle::Answer answer =
      Lzma2Oracle().Decode(made.data, made.dictionary_bytes, kMostPlain);
  EXPECT_TRUE(answer.is_valid);
  EXPECT_TRUE(answer.plain == made.plain);
  for (size_t slot = 0; slot <= 50; ++slot) {
    EXPECT_GT(coverage.slots[slot], 0u) << slot;
  }
}

TEST(Lzma2MakerChoicesTest, TheSameChoicesMakeTheSame) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(MakeFrom(seed, nullptr).data, MakeFrom(seed, nullptr).data);
    EXPECT_NE(MakeFrom(seed, nullptr).data, MakeFrom(seed + 100, nullptr).data);
  }
}

TEST(Lzma2MakerChoicesTest, NoChoicesMakeDataThatIsEmpty) {
  const Lzma2Made made = MakeLzma2({}, nullptr);
  EXPECT_EQ(made.data, std::vector<uint8_t>{0});
  EXPECT_TRUE(made.plain.empty());
  EXPECT_EQ(made.meant, Meant::kValid);
}

}  // namespace
}  // namespace xzfs
