// Data is made chunk by chunk until the choices are used up. A chunk is a few symbols or bytes that
// each cost a few choices, or, rarely, as much as fits in: then random choices of a seed are used
// instead, so that few choices can make much.
//
// A fault is made at a chunk that was chosen before. What comes behind it is made as if all were
// well, because a decoder that overlooks the fault should meet something to decode.
#include "support/lzma2_maker.h"

#include <algorithm>
#include <utility>

#include "support/choices.h"
#include "support/lzma_symbol_maker.h"

namespace xzfs {

namespace {

using Meant = Lzma2Made::Meant;
using Coverage = Lzma2Coverage;
using Chunk = Lzma2Coverage::Chunk;

constexpr size_t kMostOfPlainChunk = size_t{64} << 10;
// What a chunk is of that is as large as can be: each symbol takes a few.
constexpr size_t kChoicesOfFullChunk = size_t{512} << 10;
constexpr uint8_t kNoProperties = 225;  // the first byte that encodes none
constexpr std::array<uint8_t, Coverage::kChunks> kControls = {1, 2, 0x80, 0xA0, 0xC0, 0xE0};

bool IsInSymbol(Lzma2Fault fault) {
  return fault >= Lzma2Fault::kDistance && fault <= Lzma2Fault::kEndMarker;
}
bool IsInChunk(Lzma2Fault fault) {
  return fault >= Lzma2Fault::kFirstByte && fault <= Lzma2Fault::kFlippedBit;
}
bool IsAtTheEnd(Lzma2Fault fault) { return fault >= Lzma2Fault::kGarbage; }

Meant MeantBy(Lzma2Fault fault) {
  switch (fault) {
    case Lzma2Fault::kNone:
    case Lzma2Fault::kGarbage:
      return Meant::kValid;
    case Lzma2Fault::kCode:
    case Lzma2Fault::kPlainSize:
    case Lzma2Fault::kFlippedBit:
      return Meant::kEither;
    default:
      return Meant::kDamaged;
  }
}

uint32_t ChooseDictionary(Choices& choices) {
  switch (choices.Below(8)) {
    case 0:
      return uint32_t{1} << 20;
    case 1:
      return 4096;
    case 2:
      return choices.Below(12000);
    case 3:
      return 0;
    case 4:
      return 4096 + choices.Below(64);
    case 5:
      return uint32_t{64} << 10;
    case 6:
      return uint32_t{64} << 20;
    default:
      return uint32_t{8} << 20;
  }
}

Lzma2Fault ChooseFault(Choices& choices) {
  return choices.OneIn(3) ? static_cast<Lzma2Fault>(1 + choices.Below(kLzma2Faults - 1))
                          : Lzma2Fault::kNone;
}

LzmaProperties ChooseProperties(Choices& choices) {
  LzmaProperties properties;
  if (choices.Below(4) == 0) {
    return properties;
  }
  properties.lc = choices.Below(5);
  properties.lp = choices.Below(5 - properties.lc);
  properties.pb = choices.Below(5);
  return properties;
}

uint8_t PropertiesByte(const LzmaProperties& properties) {
  return static_cast<uint8_t>((properties.pb * 5 + properties.lp) * 9 + properties.lc);
}

uint8_t ChooseWrongProperties(Choices& choices) {
  if (choices.Below(2) == 0) {
    return static_cast<uint8_t>(kNoProperties + choices.Below(256 - kNoProperties));
  }
  const unsigned lp = choices.Below(5);
  const unsigned lc = 5 - lp + choices.Below(4 + lp);
  return PropertiesByte({lc, lp, choices.Below(5)});
}

// Another number from 1 to `most`: near to it, or less, or any.
size_t ChooseOther(size_t number, size_t most, Choices& choices) {
  size_t other = 0;
  switch (choices.Below(4)) {
    case 0:
      other = number + 1;
      break;
    case 1:
      other = number - 1;
      break;
    case 2:
      other = 1 + choices.Below(number);
      break;
    default:
      other = 1 + choices.Below(most);
  }
  if (other != number && other != 0 && other <= most) {
    return other;
  }
  return number < most ? number + 1 : number - 1;
}

void AppendSize(std::vector<uint8_t>& to, size_t size_less_1) {
  to.push_back(static_cast<uint8_t>(size_less_1 >> 8));
  to.push_back(static_cast<uint8_t>(size_less_1));
}

class Maker {
 public:
  Maker(std::span<const uint8_t> choices, Coverage& coverage, const Lzma2MakerOptions& options)
      : choices_(choices),
        coverage_(coverage),
        options_(options),
        dictionary_bytes_(options.dictionary_bytes.value_or(ChooseDictionary(choices_))),
        symbols_(dictionary_bytes_, coverage) {}

  Lzma2Made Make();

 private:
  using Plan = LzmaSymbolMaker::Plan;

  void AddFarHistory();
  void AddChunk();
  void AddFaultyChunk();
  Chunk ChooseChunk();
  Chunk Allowed(Chunk chunk) const;
  void AddPlainChunk(Chunk chunk);
  void AddChosenLzmaChunk(Chunk chunk, Lzma2Fault fault);
  void AddLzmaChunk(Chunk chunk, Lzma2Fault fault, const Plan& plan, Choices& choices);
  void AddMissingReset();
  void ResetDictionary();
  void ResetModel(Chunk chunk, Choices& choices);
  size_t AddHeader(Chunk chunk, Lzma2Fault fault, size_t plain_bytes, size_t compressed_bytes);
  void Spoil(std::vector<uint8_t>& compressed, Lzma2Fault fault);
  void EndData();

  Choices choices_;
  Coverage& coverage_;
  const Lzma2MakerOptions options_;
  const uint32_t dictionary_bytes_;
  LzmaSymbolMaker symbols_;
  std::vector<uint8_t> data_;
  size_t end_ = 0;
  size_t cut_at_ = SIZE_MAX;
  Lzma2Fault fault_ = Lzma2Fault::kNone;
  bool needs_dictionary_ = true;
  bool needs_properties_ = true;
  bool resets_often_ = false;
};

Lzma2Made Maker::Make() {
  fault_ = options_.fault.value_or(ChooseFault(choices_));
  bool fault_is_due = fault_ != Lzma2Fault::kNone && !IsAtTheEnd(fault_);
  uint32_t sound_chunks = fault_is_due ? choices_.Below(6) : 0;
  resets_often_ = choices_.OneIn(2);
  AddFarHistory();
  while (fault_is_due || (!choices_.empty() && symbols_.plain().size() < options_.most_plain)) {
    if (fault_is_due && (choices_.empty() || sound_chunks == 0)) {
      AddFaultyChunk();
      fault_is_due = false;
    } else {
      AddChunk();
      sound_chunks -= sound_chunks != 0 ? 1 : 0;
    }
  }
  EndData();
  Lzma2Made made = {.data = std::move(data_),
                    .end = end_,
                    .dictionary_bytes = dictionary_bytes_,
                    .plain = symbols_.plain(),
                    .meant = MeantBy(fault_),
                    .fault = fault_};
  made.plain.resize(symbols_.sound_bytes());
  return made;
}

void Maker::AddFarHistory() {
  const size_t wanted = options_.plain_before;
  for (uint32_t seed = 1; symbols_.plain().size() < wanted; ++seed) {
    const std::vector<uint8_t> random = RandomBytes(seed, kChoicesOfFullChunk);
    Choices choices(random);
    Plan plan = {.symbols = SIZE_MAX,
                 .style = seed % 8 == 1 ? LzmaSymbolMaker::kMixed : LzmaSymbolMaker::kLong};
    plan.plain_bytes = std::min(wanted - symbols_.plain().size(), kMostOfLzmaChunk);
    AddLzmaChunk(Allowed(Coverage::kLzma), Lzma2Fault::kNone, plan, choices);
  }
}

void Maker::EndData() {
  data_.push_back(0);
  data_.resize(std::min(data_.size(), cut_at_));
  end_ = data_.size();
  if (fault_ == Lzma2Fault::kGarbage) {
    for (uint32_t count = 1 + choices_.Below(64); count != 0; --count) {
      data_.push_back(static_cast<uint8_t>(choices_.Below(256)));
    }
  }
  if (fault_ == Lzma2Fault::kTruncated) {
    symbols_.BreakHere();
    data_.resize(choices_.Below(data_.size()));
    end_ = data_.size();
  }
}

Chunk Maker::ChooseChunk() {
  static constexpr std::array<Chunk, 12> kUsual = {
      Coverage::kLzma,      Coverage::kLzma,           Coverage::kLzma,
      Coverage::kLzma,      Coverage::kLzma,           Coverage::kLzmaState,
      Coverage::kLzmaState, Coverage::kLzmaState,      Coverage::kLzmaProperties,
      Coverage::kPlain,     Coverage::kLzmaProperties, Coverage::kPlain};
  if (choices_.OneIn(resets_often_ ? 4 : 64)) {
    return choices_.OneIn(3) ? Coverage::kPlainReset : Coverage::kLzmaAll;
  }
  return kUsual[choices_.Below(kUsual.size())];
}

// What is nearest to `chunk` and resets what must be reset now.
Chunk Maker::Allowed(Chunk chunk) const {
  if (chunk == Coverage::kPlainReset || chunk == Coverage::kLzmaAll) {
    return chunk;
  }
  if (needs_dictionary_) {
    return chunk == Coverage::kPlain ? Coverage::kPlainReset : Coverage::kLzmaAll;
  }
  return needs_properties_ && chunk != Coverage::kPlain ? Coverage::kLzmaProperties : chunk;
}

void Maker::AddChunk() {
  const Chunk chunk = Allowed(ChooseChunk());
  if (chunk <= Coverage::kPlain) {
    AddPlainChunk(chunk);
  } else {
    AddChosenLzmaChunk(chunk, Lzma2Fault::kNone);
  }
}

void Maker::AddFaultyChunk() {
  Chunk chunk = ChooseChunk();
  switch (fault_) {
    case Lzma2Fault::kControl:
      symbols_.BreakHere();
      data_.push_back(static_cast<uint8_t>(3 + choices_.Below(0x80 - 3)));
      AddChunk();
      return;
    case Lzma2Fault::kMissingReset:
      AddMissingReset();
      return;
    case Lzma2Fault::kRepOfNothing:
      chunk = Coverage::kLzmaAll;
      break;
    case Lzma2Fault::kProperties:
      chunk = std::max(chunk, Coverage::kLzmaProperties);
      break;
    default:
      chunk = std::max(chunk, Coverage::kLzma);
  }
  if (!IsInSymbol(fault_)) {
    symbols_.BreakHere();
  }
  AddChosenLzmaChunk(Allowed(chunk), fault_);
}

void Maker::AddMissingReset() {
  if (needs_dictionary_) {
    symbols_.BreakHere();
    needs_dictionary_ = false;
    if (choices_.Below(2) == 0) {
      AddPlainChunk(Coverage::kPlain);
      return;
    }
  } else {
    AddPlainChunk(Coverage::kPlainReset);
    symbols_.BreakHere();
  }
  needs_properties_ = false;
  AddChosenLzmaChunk(choices_.Below(2) == 0 ? Coverage::kLzma : Coverage::kLzmaState,
                     Lzma2Fault::kNone);
}

void Maker::ResetDictionary() {
  coverage_.resets_inside += symbols_.plain().empty() ? 0 : 1;
  symbols_.ResetDictionary();
  needs_dictionary_ = false;
  needs_properties_ = true;
}

void Maker::ResetModel(Chunk chunk, Choices& choices) {
  LzmaEncoder& encoder = symbols_.encoder();
  if (chunk >= Coverage::kLzmaProperties) {
    needs_properties_ = false;
    encoder.Reset(ChooseProperties(choices));
  } else if (chunk == Coverage::kLzmaState) {
    encoder.Reset(encoder.properties());
  }
  const LzmaProperties& properties = encoder.properties();
  ++coverage_.properties[{properties.lc, properties.lp, properties.pb}];
}

void Maker::AddPlainChunk(Chunk chunk) {
  ++coverage_.chunks[chunk];
  if (chunk == Coverage::kPlainReset) {
    ResetDictionary();
  }
  size_t bytes = 1 + choices_.Below(24);
  std::vector<uint8_t> random;
  if (choices_.OneIn(16)) {
    bytes = choices_.Below(2) == 0 ? kMostOfPlainChunk : 1 + choices_.Below(kMostOfPlainChunk);
    random = RandomBytes(choices_.Below(65536), bytes);
  }
  coverage_.chunks_of_one_byte += bytes == 1 ? 1 : 0;
  coverage_.full_plain_chunks += bytes == kMostOfPlainChunk ? 1 : 0;
  data_.push_back(kControls[chunk]);
  AppendSize(data_, bytes - 1);
  for (size_t i = 0; i < bytes; ++i) {
    const auto byte = random.empty() ? static_cast<uint8_t>(choices_.Below(256)) : random[i];
    data_.push_back(byte);
    symbols_.AddPlain(byte);
  }
}

void Maker::AddChosenLzmaChunk(Chunk chunk, Lzma2Fault fault) {
  Plan plan = {.style =
                   static_cast<LzmaSymbolMaker::Style>(choices_.Below(LzmaSymbolMaker::kStyles))};
  if (fault != Lzma2Fault::kNone || !choices_.OneIn(200)) {
    static constexpr std::array<uint32_t, 4> kMostSymbols = {12, 1, 60, 300};
    plan.symbols = choices_.Below(kMostSymbols[choices_.Below(kMostSymbols.size())]);
    plan.symbols += IsInSymbol(fault) ? 0 : 1;
    AddLzmaChunk(chunk, fault, plan, choices_);
    return;
  }
  plan.symbols = SIZE_MAX;
  plan.fills = choices_.Below(2) == 0;
  const std::vector<uint8_t> random = RandomBytes(choices_.Below(65536), kChoicesOfFullChunk);
  Choices many(random);
  AddLzmaChunk(chunk, fault, plan, many);
}

void Maker::AddLzmaChunk(Chunk chunk, Lzma2Fault fault, const Plan& plan, Choices& choices) {
  ++coverage_.chunks[chunk];
  if (chunk == Coverage::kLzmaAll) {
    ResetDictionary();
  }
  ResetModel(chunk, choices);
  const size_t begin = symbols_.plain().size();
  symbols_.encoder().StartChunk();
  size_t not_in_header = 0;
  if (fault == Lzma2Fault::kRepOfNothing) {
    symbols_.AddFaultySymbol(fault, choices);
  }
  symbols_.AddSymbols(plan, choices);
  if (IsInSymbol(fault) && fault != Lzma2Fault::kRepOfNothing) {
    not_in_header = symbols_.AddFaultySymbol(fault, choices);
  }
  std::vector<uint8_t> compressed = symbols_.encoder().EndChunk();
  const size_t plain_bytes = symbols_.plain().size() - begin - not_in_header;
  coverage_.chunks_of_one_byte += plain_bytes == 1 ? 1 : 0;
  coverage_.full_lzma_chunks += plain_bytes == kMostOfLzmaChunk ? 1 : 0;
  coverage_.full_compressed += compressed.size() == kMostCompressed ? 1 : 0;
  const size_t said_bytes = AddHeader(chunk, fault, plain_bytes, compressed.size());
  if (IsInChunk(fault)) {
    Spoil(compressed, fault);
    // A decoder that doesn't stop at the end of the chunk then comes to the end of the input.
    cut_at_ = choices_.OneIn(2) ? data_.size() + said_bytes : SIZE_MAX;
  }
  data_.insert(data_.end(), compressed.begin(), compressed.end());
}

// Returns the compressed size that the header says.
size_t Maker::AddHeader(Chunk chunk, Lzma2Fault fault, size_t plain_bytes,
                        size_t compressed_bytes) {
  if (fault == Lzma2Fault::kPlainSize) {
    plain_bytes = ChooseOther(plain_bytes, kMostOfLzmaChunk, choices_);
  } else if (fault == Lzma2Fault::kCompressedSize) {
    compressed_bytes = ChooseOther(compressed_bytes, kMostCompressed, choices_);
  } else if (fault == Lzma2Fault::kTooShort) {
    compressed_bytes = 1 + choices_.Below(4);
  }
  const size_t high_bits = (plain_bytes - 1) >> 16;
  data_.push_back(static_cast<uint8_t>(kControls[chunk] | high_bits));
  AppendSize(data_, plain_bytes - 1);
  AppendSize(data_, compressed_bytes - 1);
  if (chunk >= Coverage::kLzmaProperties) {
    data_.push_back(fault == Lzma2Fault::kProperties
                        ? ChooseWrongProperties(choices_)
                        : PropertiesByte(symbols_.encoder().properties()));
  }
  return compressed_bytes;
}

void Maker::Spoil(std::vector<uint8_t>& compressed, Lzma2Fault fault) {
  if (fault == Lzma2Fault::kFirstByte) {
    compressed[0] = static_cast<uint8_t>(1 + choices_.Below(255));
  } else if (fault == Lzma2Fault::kCode) {
    std::fill_n(compressed.begin() + 1, 4, uint8_t{0xFF});
  } else if (fault == Lzma2Fault::kFlippedBit) {
    uint8_t& byte = compressed[choices_.Below(compressed.size())];
    byte = static_cast<uint8_t>(byte ^ (1U << choices_.Below(8)));
  }
}

}  // namespace

Lzma2Made MakeLzma2(std::span<const uint8_t> choices, Lzma2Coverage* coverage,
                    const Lzma2MakerOptions& options) {
  Lzma2Coverage unused;
  return Maker(choices, coverage != nullptr ? *coverage : unused, options).Make();
}

}  // namespace xzfs
