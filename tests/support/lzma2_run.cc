#include "support/lzma2_run.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "support/lzma_symbol_maker.h"

namespace xzfs {

namespace {

constexpr size_t kMostSteps = 200;
// Each copies what a match may refer to.
constexpr size_t kMostWindows = 24;
constexpr size_t kOverrun = Lzma2Decoder::kLongestSymbol - 1;  // of the wanted end

// How long the chunk with which `data` begins says to be, with its header.
size_t ChunkBytes(std::span<const uint8_t> data) {
  const auto size = [&](size_t at) {
    return at + 1 < data.size() ? (size_t{data[at]} << 8 | data[at + 1]) + 1 : 1;
  };
  if (data.empty() || data[0] == 0) {
    return 1;
  }
  return data[0] < 0x80 ? 3 + size(1) : (data[0] < 0xC0 ? 5 : 6) + size(3);
}

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

std::string Lzma2Manner::words() const {
  const std::string whose = code == Lzma2Code::kPortable ? "portable" : "x86";
  static constexpr std::array<const char*, 4> kWays = {"at once", "in steps", "in windows",
                                                       "in a ring"};
  const bool before = guard == GuardedMemory::Guard::kBefore;
  return whose + ", " + kWays[how] + ", guarded " + (before ? "before" : "behind");
}

Lzma2Run::Lzma2Run(const Lzma2Manner& manner, Memory memory, std::span<const uint8_t> data,
                   uint32_t dictionary_bytes, size_t room, uint32_t seed)
    : manner_(manner),
      memory_(memory),
      data_(data),
      dictionary_bytes_(dictionary_bytes),
      room_(room),
      random_(seed),
      decoder_(manner.code) {
  decoder_.Start(dictionary_bytes);
}

void Lzma2Run::Decode() {
  const size_t ring = static_cast<size_t>(RoundedDictionary(dictionary_bytes_)) +
                      Lzma2Decoder::kRingSlack + random_() % 2;
  const size_t bytes = manner_.how == Lzma2Manner::kInRing ? std::min(ring, room_) : room_;
  if (manner_.how != Lzma2Manner::kInWindow) {
    const auto filling = static_cast<uint8_t>(random_());
    memory_of_out_ = {memory_.output.Make(bytes, manner_.guard, filling), bytes};
    out_ = {memory_of_out_.data(), memory_of_out_.data(), memory_of_out_.data() + bytes, {}};
  }
  if (manner_.how == Lzma2Manner::kAtOnce) {
    given_ = data_.size();
    Run({out_, out_.end});
  } else {
    DecodeInSteps();
  }
}

void Lzma2Run::DecodeInSteps() {
  for (;;) {
    const Stop stop = Run(NextStep());
    if (!problem_.empty() || stop == Stop::kEnd || stop == Stop::kDamage ||
        (stop == Stop::kInput && !GiveMore())) {
      return;
    }
    PassStateOn();
  }
}

Lzma2Decoder::Stop Lzma2Run::Run(const Step& step) {
  std::span<const uint8_t> in = PlaceInput();
  Lzma2Output out = step.out;
  const Stop stop = decoder_.Run(in, out, step.wanted);
  used_ = given_ - in.size();
  Check(stop, step, out, in.size());
  plain_.insert(plain_.end(), step.out.next, out.next);
  out_.next = out.next;
  is_valid_ = stop == Stop::kEnd;
  return stop;
}

// How much is asked for next, such that there aren't too many steps.
size_t Lzma2Run::ChooseBytes(size_t total, size_t most_steps) {
  static constexpr std::array<uint32_t, 6> kMost = {1, 20, 300, 5000, 70'000, 70'000};
  return std::max(random_() % (kMost[random_() % kMost.size()] + 1), total / most_steps);
}

Lzma2Run::Step Lzma2Run::NextStep() {
  switch (manner_.how) {
    case Lzma2Manner::kInWindow:
      return NextWindow();
    case Lzma2Manner::kInRing:
      return NextRoundOfRing();
    default:
      return {out_, ChooseWanted(out_, true)};
  }
}

Lzma2Run::Step Lzma2Run::NextWindow() {
  const Lzma2State& state = decoder_.state();
  const size_t history = static_cast<size_t>(
      std::min({state.position, state.dictionary_bytes, uint64_t{plain_.size()}}));
  const size_t older = random_() % 2 == 0 ? 0 : random_() % (history + 1);
  const size_t left = room_ - plain_.size();
  const size_t bytes =
      std::min(left, Lzma2Decoder::kLongestSymbol + ChooseBytes(room_, kMostWindows));
  const auto filling = static_cast<uint8_t>(random_());
  uint8_t* const older_begin = memory_.older.Make(older, manner_.guard, filling);
  uint8_t* const begin = memory_.output.Make(history - older + bytes, manner_.guard, filling);
  const auto from = plain_.end() - static_cast<ptrdiff_t>(history);
  std::copy_n(from, older, older_begin);
  uint8_t* const next = std::copy(from + static_cast<ptrdiff_t>(older), plain_.end(), begin);
  const Lzma2Output out = {begin, next, next + bytes, {older_begin, older}};
  return {out, ChooseWanted(out, bytes == left)};
}

Lzma2Run::Step Lzma2Run::NextRoundOfRing() {
  uint8_t* const begin = memory_of_out_.data();
  uint8_t* const end = begin + memory_of_out_.size();
  const size_t left = room_ - plain_.size();
  const auto room = [&] { return static_cast<size_t>(end - out_.next); };
  if (room() < left && room() <= Lzma2Decoder::kLongestSymbol) {
    out_ = {begin, begin, end, {begin, out_.next}};
  }
  out_.end = out_.next + std::min(left, room());
  return {out_, ChooseWanted(out_, left <= room())};
}

// `is_last`: nothing may come behind this output.
const uint8_t* Lzma2Run::ChooseWanted(const Lzma2Output& out, bool is_last) {
  const auto room = static_cast<size_t>(out.end - out.next);
  const size_t step =
      ChooseBytes(room_, manner_.how == Lzma2Manner::kInWindow ? kMostWindows : kMostSteps);
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
  size_t more = 1 + ChooseBytes(data_.size(), kMostSteps);
  if (decoder_.state().chunk == Lzma2State::Chunk::kNone && random_() % 2 == 0) {
    const size_t chunk = ChunkBytes(data_.subspan(used_));
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

void Lzma2Run::Check(Stop stop, const Step& step, const Lzma2Output& out, size_t input_left) {
  const Lzma2Output& before = step.out;
  const uint8_t* const next = out.next;
  if (out.begin != before.begin || out.end != before.end || next < before.next || next > out.end) {
    problem_ = "the output is another";
  } else if (stop == Stop::kWanted &&
             (step.wanted == out.end || next < step.wanted || next > step.wanted + kOverrun)) {
    problem_ = "it stopped elsewhere than it was told";
  } else if (stop == Stop::kInput && input_left >= Lzma2Decoder::kChunkBytes) {
    problem_ = "it wants more input than a chunk";
  } else if (!memory_.output.IsUntouchedAround() || !memory_.input.IsUntouchedAround()) {
    problem_ = "it wrote outside of its output or input";
  } else if (!IsAsBefore(before)) {
    problem_ = "it changed what was decoded before";
  }
}

// Whether the output before `next` is what `plain_` has, except what a ring overwrites.
bool Lzma2Run::IsAsBefore(const Lzma2Output& out) const {
  const auto newer = static_cast<size_t>(out.next - out.begin);
  const uint8_t* const plain_end = plain_.data() + plain_.size();
  if (newer != 0 && std::memcmp(out.begin, plain_end - newer, newer) != 0) {
    return false;
  }
  return manner_.how != Lzma2Manner::kInWindow || out.older.empty() ||
         (memory_.older.IsUntouchedAround() &&
          std::memcmp(out.older.data(), plain_end - newer - out.older.size(), out.older.size()) ==
              0);
}

}  // namespace xzfs
