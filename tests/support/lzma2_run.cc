#include "support/lzma2_run.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

namespace xzfs {

namespace {

constexpr size_t kMostSteps = 200;
// Each copies what a match may refer to.
constexpr size_t kMostWindows = 24;
constexpr size_t kOverrun = Lzma2Decoder::kLongestSymbol - 1;  // of the wanted end

}  // namespace

std::span<const Lzma2Code> Lzma2Codes() {
  static const std::vector<Lzma2Code> codes = [] {
    std::vector<Lzma2Code> found;
    for (const Lzma2Code code : {Lzma2Code::kPortable, Lzma2Code::kX86}) {
      if (CanRun(code)) {
        found.push_back(code);
      }
    }
    return found;
  }();
  return codes;
}

size_t Lzma2ChunkBytes(std::span<const uint8_t> data) {
  const auto size = [&](size_t at) {
    return at + 1 < data.size() ? (size_t{data[at]} << 8 | data[at + 1]) + 1 : 1;
  };
  if (data.empty() || data[0] == 0) {
    return 1;
  }
  return data[0] < 0x80 ? 3 + size(1) : (data[0] < 0xC0 ? 5 : 6) + size(3);
}

std::string Lzma2Manner::words() const {
  const std::string whose = code == Lzma2Code::kPortable ? "portable" : "x86";
  const std::string ways = how == kAtOnce    ? "at once"
                           : how == kInSteps ? "in steps"
                                             : "in a window";
  const bool before = guard == GuardedMemory::Guard::kBefore;
  return whose + ", " + ways + ", guarded " + (before ? "before" : "behind");
}

Lzma2Run::Lzma2Run(const Lzma2Manner& manner, Memory memory, std::span<const uint8_t> data,
                   uint32_t dictionary_bytes, size_t room, uint32_t seed)
    : manner_(manner),
      memory_(memory),
      data_(data),
      room_(room),
      random_(seed),
      decoder_(manner.code) {
  decoder_.Start(dictionary_bytes);
}

void Lzma2Run::Decode() {
  if (manner_.how != Lzma2Manner::kInWindow) {
    const auto filling = static_cast<uint8_t>(random_());
    uint8_t* const begin = memory_.output.Make(room_, manner_.guard, filling);
    out_ = {begin, begin, begin + room_};
  }
  if (manner_.how == Lzma2Manner::kAtOnce) {
    DecodeAtOnce();
  } else {
    DecodeInSteps();
  }
  if (manner_.how != Lzma2Manner::kInWindow) {
    plain_.assign(out_.begin, out_.next);
  }
}

void Lzma2Run::DecodeAtOnce() {
  given_ = data_.size();
  std::span<const uint8_t> in = PlaceInput();
  const Window window = {out_, out_.end};
  const Stop stop = decoder_.Run(in, out_, out_.end);
  used_ = data_.size() - in.size();
  is_valid_ = stop == Stop::kEnd;
  Check(stop, window, out_, in.size());
}

void Lzma2Run::DecodeInSteps() {
  for (;;) {
    const Window window = NextWindow();
    std::span<const uint8_t> in = PlaceInput();
    Lzma2Output out = window.out;
    const Stop stop = decoder_.Run(in, out, window.wanted);
    used_ = given_ - in.size();
    Check(stop, window, out, in.size());
    if (manner_.how == Lzma2Manner::kInWindow) {
      plain_.insert(plain_.end(), window.out.next, out.next);
    } else {
      out_.next = out.next;
    }
    is_valid_ = stop == Stop::kEnd;
    if (!problem_.empty() || stop == Stop::kEnd || stop == Stop::kDamage ||
        (stop == Stop::kInput && !GiveMore())) {
      return;
    }
    PassStateOn();
  }
}

// How much is asked for next, such that there aren't too many steps.
size_t Lzma2Run::ChooseStep(size_t total, size_t most_steps) {
  static constexpr std::array<uint32_t, 6> kMost = {1, 20, 300, 5000, 70'000, 70'000};
  return std::max(random_() % (kMost[random_() % kMost.size()] + 1), total / most_steps);
}

Lzma2Run::Window Lzma2Run::NextWindow() {
  if (manner_.how != Lzma2Manner::kInWindow) {
    return {out_, ChooseWanted(out_, true)};
  }
  const Lzma2State& state = decoder_.state();
  const size_t history = static_cast<size_t>(
      std::min({state.position, state.dictionary_bytes, uint64_t{plain_.size()}}));
  const size_t left = room_ - plain_.size();
  const size_t bytes =
      std::min(left, Lzma2Decoder::kLongestSymbol + ChooseStep(room_, kMostWindows));
  uint8_t* const begin =
      memory_.output.Make(history + bytes, manner_.guard, static_cast<uint8_t>(random_()));
  std::copy(plain_.end() - static_cast<ptrdiff_t>(history), plain_.end(), begin);
  const Lzma2Output out = {begin, begin + history, begin + history + bytes};
  return {out, ChooseWanted(out, bytes == left)};
}

// `is_last`: nothing may come behind this output.
const uint8_t* Lzma2Run::ChooseWanted(const Lzma2Output& out, bool is_last) {
  const auto room = static_cast<size_t>(out.end - out.next);
  const size_t step =
      ChooseStep(room_, manner_.how == Lzma2Manner::kInWindow ? kMostWindows : kMostSteps);
  if (room >= step + kOverrun && !(is_last && random_() % 32 == 0)) {
    return out.next + step;
  }
  return is_last ? out.end : out.end - kOverrun;
}

// What was given and not used. What lies behind it doesn't matter: often zeros, which a decoder
// that went on would take for the likeliest symbols, so that it would go far.
std::span<const uint8_t> Lzma2Run::PlaceInput() {
  const std::span<const uint8_t> left = data_.subspan(used_, given_ - used_);
  const auto filling = static_cast<uint8_t>(random_() % 2 == 0 ? 0 : random_());
  uint8_t* const begin =
      memory_.input.Make(left.size() + Lzma2Decoder::kInputSlack, manner_.guard, filling);
  std::copy(left.begin(), left.end(), begin);
  return {begin, left.size()};
}

// Returns false if there is no more. What comes may be just the rest of a chunk: then a decoder
// that reads behind it comes to the guard.
bool Lzma2Run::GiveMore() {
  if (given_ == data_.size()) {
    return false;
  }
  size_t more = 1 + ChooseStep(data_.size(), kMostSteps);
  if (decoder_.state().chunk == Lzma2State::Chunk::kNone && random_() % 2 == 0) {
    const size_t chunk = Lzma2ChunkBytes(data_.subspan(used_));
    more = chunk > given_ - used_ ? chunk - (given_ - used_) : more;
  }
  given_ = std::min(data_.size(), given_ + more);
  return true;
}

// Perhaps another decoder goes on, of any code, with the part of the state that counts. Perhaps the
// input that it has is shorter.
void Lzma2Run::PassStateOn() {
  if (!IsValid(decoder_.state())) {
    problem_ = "a state isn't valid";
  }
  if (random_() % 2 == 0) {
    return;
  }
  if (random_() % 4 == 0) {
    given_ = used_ + random_() % (given_ - used_ + 1);
  }
  const std::span<const Lzma2Code> codes = Lzma2Codes();
  const auto state = std::make_unique<Lzma2State>();
  std::memset(static_cast<void*>(state.get()), static_cast<int>(random_()), sizeof(Lzma2State));
  std::memcpy(static_cast<void*>(state.get()), &decoder_.state(), decoder_.state().used_bytes());
  std::destroy_at(&decoder_);
  std::construct_at(&decoder_, codes[random_() % codes.size()]);
  decoder_.set_state(*state);
}

void Lzma2Run::Check(Stop stop, const Window& before, const Lzma2Output& out, size_t input_left) {
  const uint8_t* const next = out.next;
  if (out.begin != before.out.begin || out.end != before.out.end || next < before.out.next ||
      next > out.end) {
    problem_ = "the output is another";
  } else if (stop == Stop::kWanted && (before.wanted == out.end || next < before.wanted ||
                                       next > before.wanted + kOverrun)) {
    problem_ = "it stopped elsewhere than it was told";
  } else if (stop == Stop::kInput && input_left >= Lzma2Decoder::kChunkBytes) {
    problem_ = "it wants more input than a chunk";
  } else if (!memory_.output.IsUntouchedAround()) {
    problem_ = "it wrote outside of its output";
  } else if (!memory_.input.IsUntouchedAround()) {
    problem_ = "it wrote outside of its input";
  }
}

}  // namespace xzfs
