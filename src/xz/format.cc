#include "xz/format.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>

#include "base/try.h"

namespace xzfs {

namespace {

bool StartsWith(std::span<const std::byte> head, std::span<const uint8_t> magic) {
  return head.size() >= magic.size() &&
         std::equal(magic.begin(), magic.end(), head.begin(),
                    [](uint8_t want, std::byte got) { return std::byte{want} == got; });
}

uint64_t LittleEndian(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | std::to_integer<uint64_t>(bytes[i]);
  }
  return value;
}

}  // namespace

bool HasXzMagic(std::span<const std::byte> head) {
  static constexpr std::array<uint8_t, 6> kMagic = {0xFD, '7', 'z', 'X', 'Z', 0};
  return StartsWith(head, kMagic);
}

bool HasLzipMagic(std::span<const std::byte> head) {
  static constexpr std::array<uint8_t, 4> kMagic = {'L', 'Z', 'I', 'P'};
  return StartsWith(head, kMagic);
}

bool LooksLikeLzmaAlone(std::span<const std::byte> head) {
  if (head.size() < kFormatProbeBytes) {
    return false;
  }
  // One byte holds (pb * 5 + lp) * 9 + lc; liblzma has lc + lp <= 4 only.
  const unsigned properties = std::to_integer<unsigned>(head[0]);
  if (properties > (4 * 5 + 4) * 9 + 8 || properties % 9 + properties / 9 % 5 > 4) {
    return false;
  }
  // xz also accepts the largest 32-bit number, which some encoders write for "as large as
  // possible".
  const uint64_t dict = LittleEndian(head.subspan(1, 4));
  const uint64_t top_bit = std::bit_floor(dict);
  if (dict == 0 || (dict != UINT32_MAX && dict != top_bit && dict != top_bit + top_bit / 2)) {
    return false;
  }
  const uint64_t plain_size = LittleEndian(head.subspan(5, 8));
  return plain_size == UINT64_MAX || plain_size < uint64_t{256} << 30;
}

std::optional<Format> FormatByHead(std::span<const std::byte> head) {
  if (HasXzMagic(head)) {
    return Format::kXz;
  }
  if (HasLzipMagic(head)) {
    return Format::kLzip;
  }
  return LooksLikeLzmaAlone(head) ? std::optional(Format::kLzmaAlone) : std::nullopt;
}

Result<Format> FormatOf(const RandomAccessFile& file) {
  std::array<std::byte, kFormatProbeBytes> head;
  XZFS_ASSIGN_OR_RETURN(const size_t got, file.ReadAt(0, head));
  if (const auto format = FormatByHead(std::span(head).first(got))) {
    return *format;
  }
  return Fail(EIO, "not an .xz, .lzma or .lz file");
}

const char* FormatName(Format format) {
  switch (format) {
    case Format::kLzmaAlone:
      return "lzma";
    case Format::kLzip:
      return "lzip";
    case Format::kXz:
    case Format::kRaw:
    case Format::kAuto:
      break;
  }
  return "xz";
}

}  // namespace xzfs
