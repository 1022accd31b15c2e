#include "support/lzma2_attack.h"

#include <algorithm>

#include "support/choices.h"
#include "support/lzma2_maker.h"

namespace xzfs {

namespace {

// A fuzzer should not spend its time on few large inputs, except that it asks for one.
constexpr size_t kMostMade = size_t{128} << 10;
constexpr size_t kMostMadeIfAsked = size_t{4} << 20;
// What arbitrary data may give; a chunk can give 2 MiB.
constexpr size_t kMostPlain = size_t{5} << 20;
constexpr uint32_t kMostChanges = 4;
constexpr size_t kBytesForChanges = 20;
constexpr size_t kHeaderBytes = 4;        // of the input
constexpr uint32_t kDictionaryBits = 27;  // and up: more memory than a fuzzer should use

// Changes a bit or a byte, removes bytes or repeats them, or cuts the end off.
void ChangeOnce(std::vector<uint8_t>& data, Choices& choices) {
  if (data.empty()) {
    return;
  }
  const uint32_t how = choices.Below(6);
  const size_t at = choices.Below(data.size());
  const uint32_t value = choices.Below(256);
  const auto begin = data.begin() + static_cast<ptrdiff_t>(at);
  const auto end = begin + static_cast<ptrdiff_t>(std::min<size_t>(data.size() - at, 1 + value));
  switch (how) {
    case 0:
    case 1:
      *begin = static_cast<uint8_t>(*begin ^ (1U << (value & 7)));
      break;
    case 2:
      *begin = static_cast<uint8_t>(value);
      break;
    case 3:
      data.erase(begin, end);
      break;
    case 4: {
      const std::vector<uint8_t> again(begin, end);
      data.insert(end, again.begin(), again.end());
      break;
    }
    default:
      data.erase(begin, data.end());
  }
}

std::string WordsFor(Lzma2ForeignState::Outcome outcome) {
  switch (outcome) {
    case Lzma2ForeignState::Outcome::kDifferent:
      return "from a foreign state, codes decode different bytes";
    case Lzma2ForeignState::Outcome::kHarmful:
      return "from a foreign state, a decoder does harm";
    default:
      return "";
  }
}

}  // namespace

std::string Lzma2Attack::Try(std::span<const uint8_t> input) {
  if (input.size() < kHeaderBytes) {
    return {};
  }
  const uint8_t size = input[1];
  const uint32_t seed = uint32_t{input[2]} << 8 | input[3];
  const std::span<const uint8_t> rest = input.subspan(kHeaderBytes);
  const Lzma2MakerOptions options = {.most_plain = size == 0xFF ? kMostMadeIfAsked : kMostMade};
  switch (static_cast<Kind>(input[0] % kKinds)) {
    case Kind::kMade:
      return comparison_.Compare(MakeLzma2(rest, nullptr, options), seed);
    case Kind::kChanged: {
      const size_t for_changes = std::min(rest.size(), kBytesForChanges);
      Lzma2Made made = MakeLzma2(rest.subspan(for_changes), nullptr, options);
      Choices choices(rest.first(for_changes));
      for (uint32_t changes = 1 + choices.Below(kMostChanges); changes != 0; --changes) {
        ChangeOnce(made.data, choices);
      }
      return comparison_.Compare(made.data, made.dictionary_bytes, kMostPlain, seed);
    }
    case Kind::kData:
      return comparison_.Compare(rest, uint32_t{1} << size % kDictionaryBits, kMostPlain, seed);
    case Kind::kForeignState:
      return WordsFor(foreign_state_.Try(rest));
  }
  return {};
}

std::vector<uint8_t> AttackWith(std::span<const uint8_t> data) {
  std::vector<uint8_t> input(kHeaderBytes + data.size());
  input[0] = static_cast<uint8_t>(Lzma2Attack::Kind::kData);
  input[1] = 20;
  std::copy(data.begin(), data.end(), input.begin() + kHeaderBytes);
  return input;
}

}  // namespace xzfs
