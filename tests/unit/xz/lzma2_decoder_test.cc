#include "xz/lzma2_decoder.h"

#include <gtest/gtest.h>
#include <lzma.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace xzfs {
namespace {

using Stop = Lzma2Decoder::Stop;

constexpr uint32_t kDictionary = 1 << 16;

// Words of a few letters with noise between: all kinds of symbols.
std::string MixedContent(size_t size) {
  std::mt19937 random(7);
  std::string content;
  while (content.size() < size) {
    if (random() % 8 == 0) {
      content += static_cast<char>(random());
    } else if (content.size() > 100 && random() % 3 == 0) {
      content += content.substr(random() % (content.size() - 60), 2 + random() % 50);
    } else {
      content.append(1 + random() % 20, static_cast<char>('a' + random() % 4));
    }
  }
  content.resize(size);
  return content;
}

// LZMA2 data from liblzma, with the slack that the decoder wants.
class Data {
 public:
  Data(const std::string& plain, uint32_t lc, uint32_t lp, uint32_t pb) {
    lzma_options_lzma options;
    EXPECT_FALSE(lzma_lzma_preset(&options, 1));
    options.dict_size = kDictionary;
    options.lc = lc;
    options.lp = lp;
    options.pb = pb;
    const lzma_filter chain[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
    bytes_.resize(plain.size() * 2 + 1000);
    EXPECT_EQ(LZMA_OK,
              lzma_raw_buffer_encode(chain, nullptr, reinterpret_cast<const uint8_t*>(plain.data()),
                                     plain.size(), bytes_.data(), &size_, bytes_.size()));
  }

  std::span<const uint8_t> span() const { return {bytes_.data(), size_}; }

 private:
  std::vector<uint8_t> bytes_;
  size_t size_ = 0;
};

std::vector<Lzma2Code> CodesOfThisMachine() {
  std::vector<Lzma2Code> codes = {Lzma2Code::kPortable};
  if (CanRun(Lzma2Code::kX86)) {
    codes.push_back(Lzma2Code::kX86);
  }
  return codes;
}

Lzma2Output OutputTo(std::string& plain) {
  auto* const begin = reinterpret_cast<uint8_t*>(plain.data());
  return {begin, begin, begin + plain.size(), {}};
}

class Lzma2DecoderTest : public testing::TestWithParam<Lzma2Code> {};

TEST_P(Lzma2DecoderTest, GivesWhatLiblzmaEncoded) {
  const std::string plain = MixedContent(300'000);
  for (uint32_t lc = 0; lc <= 4; ++lc) {
    for (uint32_t lp = 0; lc + lp <= 4; ++lp) {
      for (uint32_t pb = 0; pb <= 4; ++pb) {
        const Data data(plain, lc, lp, pb);
        std::span<const uint8_t> in = data.span();
        std::string got(plain.size(), '?');
        Lzma2Output out = OutputTo(got);
        Lzma2Decoder decoder(GetParam());
        decoder.Start(kDictionary);
        EXPECT_EQ(Stop::kEnd, decoder.Run(in, out, out.end));
        EXPECT_EQ(out.end, out.next);
        EXPECT_TRUE(in.empty());
        EXPECT_TRUE(got == plain) << lc << lp << pb;
      }
    }
  }
}

TEST_P(Lzma2DecoderTest, AnotherDecoderGoesOnFromItsStateAtAnyPlace) {
  const std::string plain = MixedContent(200'000);
  const Data data(plain, 3, 0, 2);
  std::span<const uint8_t> in = data.span();
  std::string got(plain.size(), '?');
  Lzma2Output out = OutputTo(got);
  std::mt19937 random(1);
  auto decoder = std::make_unique<Lzma2Decoder>(GetParam());
  decoder->Start(kDictionary);
  for (Stop stop = Stop::kWanted; stop != Stop::kEnd;) {
    const auto left = static_cast<size_t>(out.end - out.next);
    const size_t step = 1 + random() % 3000;
    const bool last = step + Lzma2Decoder::kLongestSymbol > left;
    const uint8_t* const wanted = last ? out.end : out.next + step;
    stop = decoder->Run(in, out, wanted);
    ASSERT_TRUE(stop == Stop::kEnd || (stop == Stop::kWanted && !last));
    EXPECT_LT(out.next, wanted + Lzma2Decoder::kLongestSymbol);
    auto other = std::make_unique<Lzma2Decoder>(GetParam());
    other->set_state(decoder->state());
    EXPECT_TRUE(IsValid(decoder->state()));
    decoder = std::move(other);
  }
  EXPECT_TRUE(got == plain);
}

TEST_P(Lzma2DecoderTest, AsksForInputUntilAChunkIsThere) {
  const std::string plain = MixedContent(300'000);
  const Data data(plain, 3, 0, 2);
  std::string got(plain.size(), '?');
  Lzma2Output out = OutputTo(got);
  Lzma2Decoder decoder(GetParam());
  decoder.Start(kDictionary);
  size_t begin = 0;
  size_t end = 0;
  Stop stop = Stop::kInput;
  while (stop == Stop::kInput && end < data.span().size()) {
    end = std::min(end + 777, data.span().size());
    std::span<const uint8_t> in = data.span().subspan(begin, end - begin);
    stop = decoder.Run(in, out, out.end);
    begin = end - in.size();
    ASSERT_LE(in.size(), Lzma2Decoder::kChunkBytes);
  }
  EXPECT_EQ(Stop::kEnd, stop);
  EXPECT_TRUE(got == plain);
}

TEST_P(Lzma2DecoderTest, ARingSomewhatLargerThanTheDictionaryIsEnough) {
  const std::string plain = MixedContent(700'000);
  const Data data(plain, 3, 0, 2);
  std::span<const uint8_t> in = data.span();
  std::vector<uint8_t> ring(kDictionary + Lzma2Decoder::kRingSlack);
  uint8_t* const ring_end = ring.data() + ring.size();
  Lzma2Output out = {ring.data(), ring.data(), ring_end, {}};
  Lzma2Decoder decoder(GetParam());
  decoder.Start(kDictionary);
  std::string got;
  std::mt19937 random(2);
  for (Stop stop = Stop::kWanted; stop != Stop::kEnd;) {
    const size_t left = plain.size() - got.size();
    if (static_cast<size_t>(ring_end - out.next) <= Lzma2Decoder::kLongestSymbol) {
      out = {ring.data(), ring.data(), ring_end, {ring.data(), out.next}};
    }
    const auto room = static_cast<size_t>(ring_end - out.next);
    out.end = room >= left ? out.next + left : ring_end;
    const uint8_t* const before = out.next;
    const size_t step = 1 + random() % 5000;
    const uint8_t* const wanted =
        room >= left ? out.next + std::min(step, left)
                     : out.next + std::min(step, room - Lzma2Decoder::kLongestSymbol);
    stop = decoder.Run(in, out, wanted);
    ASSERT_TRUE(stop == Stop::kEnd || stop == Stop::kWanted);
    got.insert(got.end(), before, static_cast<const uint8_t*>(out.next));
  }
  EXPECT_TRUE(got == plain);
}

TEST_P(Lzma2DecoderTest, DataThatGivesMoreThanFitsIsDamaged) {
  const std::string plain = MixedContent(100'000);
  const Data data(plain, 3, 0, 2);
  std::span<const uint8_t> in = data.span();
  std::string got(plain.size() - 1, '?');
  Lzma2Output out = OutputTo(got);
  Lzma2Decoder decoder(GetParam());
  decoder.Start(kDictionary);
  EXPECT_EQ(Stop::kDamage, decoder.Run(in, out, out.end));
}

INSTANTIATE_TEST_SUITE_P(Code, Lzma2DecoderTest, testing::ValuesIn(CodesOfThisMachine()),
                         [](const auto& code) {
                           return code.param == Lzma2Code::kPortable ? "Portable" : "X86";
                         });

TEST(Lzma2StateTest, OneFromElsewhereIsCheckedForWhatItCouldBreak) {
  Lzma2State good;
  good.dictionary_bytes = 4096;
  EXPECT_TRUE(IsValid(good));
  const auto bad = [&](auto change) {
    Lzma2State state = good;
    change(state);
    return !IsValid(state);
  };
  EXPECT_TRUE(bad([](Lzma2State& state) { state.lc = 5; }));
  EXPECT_TRUE(bad([](Lzma2State& state) { state.lc = 2, state.lp = 3; }));
  EXPECT_TRUE(bad([](Lzma2State& state) { state.pb = 5; }));
  EXPECT_TRUE(bad([](Lzma2State& state) { state.symbols = 12; }));
  EXPECT_TRUE(bad([](Lzma2State& state) { state.chunk = static_cast<Lzma2State::Chunk>(3); }));
  EXPECT_TRUE(bad([](Lzma2State& state) { state.needs = static_cast<Lzma2State::Needs>(3); }));
  EXPECT_TRUE(bad([](Lzma2State& state) { state.chunk_plain_left = (2 << 20) + 1; }));
  EXPECT_TRUE(bad([](Lzma2State& state) { state.chunk_compressed_left = 70'000; }));
  EXPECT_TRUE(bad([](Lzma2State& state) {
    state.chunk = Lzma2State::Chunk::kLzma;
    state.needs = Lzma2State::Needs::kNothing;
    state.range = 1 << 17;
  }));
  for (const Probability wrong : std::to_array<Probability>({0, 30, 2018, 65535})) {
    EXPECT_TRUE(bad([wrong](Lzma2State& state) {
      state.needs = Lzma2State::Needs::kNothing;
      auto* const all = reinterpret_cast<Probability*>(&state.probabilities);
      std::fill_n(all, sizeof(state.probabilities) / sizeof(Probability), kEvenOdds);
      state.probabilities.literal[0][LzmaModel::kLiteralTree - 1] = wrong;
    }));
  }
}

}  // namespace
}  // namespace xzfs
