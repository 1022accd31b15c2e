#include "support/lzma2_foreign_state.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "support/choices.h"
#include "support/lzma2_maker.h"
#include "support/lzma2_run.h"
#include "xz/lzma2_decoder.h"

namespace xzfs {

namespace {

using Guard = GuardedMemory::Guard;
using Stop = Lzma2Decoder::Stop;

constexpr size_t kOverrun = Lzma2Decoder::kLongestSymbol - 1;
constexpr size_t kHeadBytes = offsetof(Lzma2State, probabilities);

uint64_t ChooseNumber(Choices& choices) {
  switch (choices.Below(4)) {
    case 0:
      return choices.Below(256);
    case 1:
      return choices.Below(uint64_t{1} << choices.Below(33));
    case 2:
      return ~uint64_t{choices.Below(256)};
    default:
      return uint64_t{choices.Below(uint64_t{1} << 32)} << 32 | choices.Below(uint64_t{1} << 32);
  }
}

// The state in which a decoder stands somewhere in data of the maker. Puts what comes next of the
// data into `next`.
std::unique_ptr<Lzma2State> RealState(Choices& choices, std::vector<uint8_t>& next) {
  const Lzma2Made made =
      MakeLzma2(RandomBytes(choices.Below(65536), 300), nullptr, {.most_plain = 20'000});
  std::vector<uint8_t> data = made.data;
  data.resize(data.size() + Lzma2Decoder::kInputSlack);
  std::span<const uint8_t> in(data.data(), made.data.size());
  std::vector<uint8_t> plain(made.plain.size() + kOverrun);
  Lzma2Output out = {plain.data(), plain.data(), plain.data() + plain.size()};
  const auto decoder = std::make_unique<Lzma2Decoder>();
  decoder->Start(made.dictionary_bytes);
  decoder->Run(in, out, out.begin + choices.Below(made.plain.size() + 1));
  next.assign(in.begin(), in.end());
  return std::make_unique<Lzma2State>(decoder->state());
}

// Any number, or one that a decoder may have.
Probability ChooseProbability(Choices& choices, bool is_sane) {
  constexpr Probability kLeast = 31;
  constexpr uint32_t kCount = (1 << kProbabilityBits) - 2 * kLeast + 1;
  return static_cast<Probability>(is_sane ? kLeast + choices.Below(kCount) : ChooseNumber(choices));
}

// Of all probabilities, or of one.
void ChangeProbabilities(LzmaProbabilities& probabilities, Choices& choices) {
  auto* const all = reinterpret_cast<Probability*>(&probabilities);
  constexpr size_t kCount = sizeof(probabilities) / sizeof(Probability);
  const uint32_t how = choices.Below(8);
  const bool is_sane = how % 2 == 0;
  if (how < 2) {
    const std::vector<uint8_t> random =
        RandomBytes(choices.Below(65536), 2 * sizeof(Probability) * kCount);
    Choices many(random);
    std::generate_n(all, kCount, [&] { return ChooseProbability(many, is_sane); });
  } else if (how < 4) {
    std::fill_n(all, kCount, ChooseProbability(choices, is_sane));
  } else if (how < 6) {
    all[choices.Below(kCount)] = ChooseProbability(choices, is_sane);
  }
}

void Change(Lzma2State& state, Choices& choices) {
  for (uint32_t changes = choices.Below(4); changes != 0; --changes) {
    switch (choices.Below(8)) {
      case 0:
        state.position = ChooseNumber(choices);
        break;
      case 1:
        state.dictionary_bytes = ChooseNumber(choices);
        break;
      case 2:
        state.chunk_compressed_left = static_cast<uint32_t>(ChooseNumber(choices));
        break;
      case 3:
        state.chunk_plain_left = static_cast<uint32_t>(ChooseNumber(choices));
        break;
      case 4:
        state.distances[choices.Below(4)] = static_cast<uint32_t>(ChooseNumber(choices));
        break;
      case 5:
        state.range = static_cast<uint32_t>(ChooseNumber(choices));
        state.code = static_cast<uint32_t>(ChooseNumber(choices));
        break;
      case 6:
        state.symbols = static_cast<uint8_t>(choices.Below(13));
        state.chunk = static_cast<Lzma2State::Chunk>(choices.Below(4));
        break;
      default:
        reinterpret_cast<uint8_t*>(&state)[choices.Below(kHeadBytes)] =
            static_cast<uint8_t>(choices.Below(256));
    }
  }
}

}  // namespace

std::optional<Lzma2ForeignState::Result> Lzma2ForeignState::Decode(const Lzma2State& state,
                                                                   std::span<const uint8_t> data,
                                                                   const Room& room,
                                                                   const How& how) {
  constexpr uint8_t kOld = 0x55;
  uint8_t* const input = input_.Make(data.size() + Lzma2Decoder::kInputSlack, how.guard, 0);
  std::copy(data.begin(), data.end(), input);
  uint8_t* const older = older_.Make(room.older, how.guard, kOld);
  uint8_t* const begin = output_.Make(room.newer + room.free, how.guard, kOld);
  uint8_t* const next = begin + room.newer;
  const auto decoder = std::make_unique<Lzma2Decoder>(how.code);
  decoder->set_state(state);
  std::span<const uint8_t> in(input, data.size());
  Lzma2Output out = {begin, next, next + room.free, {older, room.older}};
  const Stop stop = decoder->Run(in, out, next + room.wanted);
  const auto is_old = [](uint8_t byte) { return byte == kOld; };
  const bool is_harmless =
      out.next >= next && out.next <= out.end && std::all_of(begin, next, is_old) &&
      std::all_of(older, older + room.older, is_old) && older_.IsUntouchedAround() &&
      output_.IsUntouchedAround() && input_.IsUntouchedAround();
  if (!is_harmless) {
    return std::nullopt;
  }
  return Result{stop, data.size() - in.size(), {next, out.next}};
}

Lzma2ForeignState::Outcome Lzma2ForeignState::Try(std::span<const uint8_t> choice_bytes) {
  Choices choices(choice_bytes);
  std::vector<uint8_t> data;
  const std::unique_ptr<Lzma2State> state = RealState(choices, data);
  ChangeProbabilities(state->probabilities, choices);
  Change(*state, choices);
  if (!IsValid(*state)) {
    return Outcome::kRefused;
  }
  if (choices.Below(2) == 0) {
    data = RandomBytes(choices.Below(65536), choices.Below(choices.Below(2) == 0 ? 80'000 : 300));
  }
  Room room;
  room.older = choices.Below(2) == 0 ? 0 : choices.Below(10'000);
  room.newer = choices.Below(2) == 0 ? 0 : choices.Below(10'000);
  room.free = choices.Below(choices.Below(2) == 0 ? 20'000 : 300);
  room.wanted = choices.Below(2) == 0 || room.free < kOverrun ? room.free : room.free - kOverrun;
  std::optional<Result> first;
  for (const Lzma2Code code : Lzma2Codes()) {
    for (const Guard guard : {Guard::kBefore, Guard::kBehind}) {
      const std::optional<Result> result = Decode(*state, data, room, {code, guard});
      if (!result) {
        return Outcome::kHarmful;
      }
      if (first && *first != *result) {
        return Outcome::kDifferent;
      }
      first = result;
    }
  }
  return Outcome::kHarmless;
}

}  // namespace xzfs
