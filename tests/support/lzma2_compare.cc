#include "support/lzma2_compare.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <vector>

#include "support/lzma2_run.h"
#include "support/lzma_symbol_maker.h"

namespace xzfs {

namespace {

using Answer = Lzma2Oracle::Answer;
using Guard = GuardedMemory::Guard;

// Data that gives more is not decoded in every way.
constexpr size_t kMuch = size_t{256} << 10;
// How much more than they promise data of the maker may give when it has a fault.
constexpr size_t kMostMore = size_t{4} << 20;

std::string Words(bool is_valid, size_t used, std::span<const uint8_t> plain) {
  const std::string gives = ", gives " + std::to_string(plain.size()) + " bytes";
  return is_valid ? "valid" + gives + ", uses " + std::to_string(used) : "damaged" + gives;
}

std::string DifferentByte(std::span<const uint8_t> ours, std::span<const uint8_t> theirs) {
  const size_t both = std::min(ours.size(), theirs.size());
  if (both == 0 || std::memcmp(ours.data(), theirs.data(), both) == 0) {
    return {};
  }
  const auto end = ours.begin() + static_cast<ptrdiff_t>(both);
  const auto different = std::mismatch(ours.begin(), end, theirs.begin()).first;
  const auto index = static_cast<size_t>(different - ours.begin());
  return "byte " + std::to_string(index) + " is " + std::to_string(ours[index]) +
         " and should be " + std::to_string(theirs[index]);
}

std::string Difference(const Lzma2Run& run, size_t room, const Answer& right) {
  if (!run.problem().empty()) {
    return run.problem();
  }
  const bool is_valid = right.is_valid && room >= right.plain.size();
  if (std::string byte = DifferentByte(run.plain(), right.plain); !byte.empty()) {
    return byte;
  }
  const bool same = run.is_valid() == is_valid &&
                    (is_valid ? run.plain().size() == right.plain.size() && run.used() == right.used
                              : run.plain().size() <= right.plain.size());
  return same ? ""
              : Words(run.is_valid(), run.used(), run.plain()) +
                    "; liblzma: " + Words(is_valid, right.used, right.plain);
}

// With how much room the data is decoded: with what it needs, or more if it's damaged, so that the
// room isn't the reason; and with more or less.
std::array<size_t, 2> ChooseRooms(const Answer& right, std::mt19937& random) {
  const size_t size = right.plain.size();
  if (!right.is_valid && random() % 8 == 0) {
    // For all that a chunk's header may promise.
    return {size + kMostOfLzmaChunk, size};
  }
  const size_t first = right.is_valid ? size : size + random() % 600;
  switch (random() % 5) {
    case 0:
      return {first, size - std::min<size_t>(size, 1)};
    case 1:
      return {first, size - std::min<size_t>(size, random() % 600)};
    case 2:
      return {first, size / 2};
    case 3:
      return {first, size + random() % 600};
    default:
      return {first, size};
  }
}

std::vector<Lzma2Manner> ChooseManners(size_t plain_bytes, std::mt19937& random) {
  std::vector<Lzma2Manner> manners;
  for (const Lzma2Code code : Lzma2Codes()) {
    manners.push_back({code, Lzma2Manner::kAtOnce, Guard::kBehind});
    for (const Guard guard : {Guard::kBehind, Guard::kBefore}) {
      const auto how = static_cast<Lzma2Manner::How>(random() % 4);
      if (plain_bytes < kMuch || random() % 4 == 0) {
        manners.push_back({code, how, guard});
      }
    }
  }
  return manners;
}

std::string Judge(const Lzma2Made& made, const Answer& answer) {
  if (made.meant != Lzma2Made::Meant::kEither &&
      answer.is_valid != (made.meant == Lzma2Made::Meant::kValid)) {
    return "the maker and liblzma disagree about whether it's valid";
  }
  if (std::string byte = DifferentByte(answer.plain, made.plain); !byte.empty()) {
    return "liblzma's " + byte + " for the maker";
  }
  const bool same = answer.plain.size() == made.plain.size() && answer.used == made.end;
  return made.meant != Lzma2Made::Meant::kValid || same ? ""
                                                        : "the maker and liblzma stop elsewhere";
}

}  // namespace

std::string Lzma2Comparison::Compare(std::span<const uint8_t> data, uint32_t dictionary_bytes,
                                     size_t most_plain, uint32_t seed) {
  return CompareWith(oracle_.Decode(data, dictionary_bytes, most_plain), data, dictionary_bytes,
                     seed);
}

std::string Lzma2Comparison::Compare(const Lzma2Made& made, uint32_t seed) {
  const Answer right =
      oracle_.Decode(made.data, made.dictionary_bytes, made.plain.size() + kMostMore);
  const std::string judgement = Judge(made, right);
  return !judgement.empty() ? judgement
                            : CompareWith(right, made.data, made.dictionary_bytes, seed);
}

std::string Lzma2Comparison::CompareWith(const Answer& right, std::span<const uint8_t> data,
                                         uint32_t dictionary_bytes, uint32_t seed) {
  std::mt19937 random(seed);
  for (const size_t room : ChooseRooms(right, random)) {
    for (const Lzma2Manner& manner : ChooseManners(right.plain.size(), random)) {
      Lzma2Run run(manner, {input_, output_, older_}, data, dictionary_bytes, room,
                   static_cast<uint32_t>(random()));
      run.Decode();
      const std::string difference = Difference(run, room, right);
      if (!difference.empty()) {
        return manner.words() + ", room for " + std::to_string(room) + ": " + difference;
      }
    }
  }
  return {};
}

}  // namespace xzfs
