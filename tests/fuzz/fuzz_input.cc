#include "fuzz/fuzz_input.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace xzfs {

namespace {

constexpr size_t kHeaderBytes = LZMA_STREAM_HEADER_SIZE;
constexpr std::array<uint8_t, 6> kHeaderMagic = {0xFD, '7', 'z', 'X', 'Z', 0};
constexpr size_t kLargestPlain = size_t{1} << 20;
constexpr uint64_t kLiblzmaMemory = uint64_t{64} << 20;

void StoreCrc(uint8_t* covered, size_t size, uint8_t* crc) {
  const uint32_t value = lzma_crc32(covered, size, 0);
  for (int i = 0; i < 4; ++i) {
    crc[i] = static_cast<uint8_t>(value >> (8 * i));
  }
}

// Fixes the headers of the Blocks that `index` lists, from `offset` on.
void FixBlocks(uint8_t* bytes, size_t offset, const lzma_index* index) {
  lzma_index_iter iter;
  lzma_index_iter_init(&iter, index);
  while (lzma_index_iter_next(&iter, LZMA_INDEX_ITER_BLOCK) == 0) {
    const size_t header_size = (size_t{bytes[offset]} + 1) * 4;
    if (bytes[offset] != 0 && header_size <= iter.block.total_size) {
      StoreCrc(bytes + offset, header_size - 4, bytes + offset + header_size - 4);
    }
    offset += iter.block.total_size;
  }
}

// Fixes the Stream that ends at `end` and returns where it begins; 0 if that can't be found.
size_t FixStream(uint8_t* bytes, size_t end) {
  uint8_t* footer = bytes + end - kHeaderBytes;
  std::memcpy(footer + 10, "YZ", 2);
  StoreCrc(footer + 4, 6, footer);
  lzma_stream_flags flags;
  if (lzma_stream_footer_decode(&flags, footer) != LZMA_OK ||
      flags.backward_size > end - 2 * kHeaderBytes) {
    return 0;
  }
  const size_t index_size = flags.backward_size;
  uint8_t* index_bytes = footer - index_size;
  StoreCrc(index_bytes, index_size - 4, index_bytes + index_size - 4);
  lzma_index* decoded = nullptr;
  uint64_t memory_limit = kLiblzmaMemory;
  size_t used = 0;
  if (lzma_index_buffer_decode(&decoded, &memory_limit, nullptr, index_bytes, &used, index_size) !=
      LZMA_OK) {
    return 0;
  }
  const std::unique_ptr<lzma_index, void (*)(lzma_index*)> index(
      decoded, [](lzma_index* i) { lzma_index_end(i, nullptr); });
  const size_t before_index = end - kHeaderBytes - index_size;
  if (lzma_index_total_size(index.get()) > before_index - kHeaderBytes) {
    return 0;
  }
  const size_t blocks = before_index - lzma_index_total_size(index.get());
  FixBlocks(bytes, blocks, index.get());
  uint8_t* header = bytes + blocks - kHeaderBytes;
  std::copy(kHeaderMagic.begin(), kHeaderMagic.end(), header);
  std::memcpy(header + 6, footer + 8, 2);
  StoreCrc(header + 6, 2, header + 8);
  return blocks - kHeaderBytes;
}

// xz looks for the other formats' magic first, and takes no dictionary of 0 bytes.
bool HasLzmaBeginning(const std::string& file) {
  return file.size() >= 5 && file[0] != 'L' && file[0] != '\xFD' &&
         file.compare(1, 4, std::string(4, '\0')) != 0;
}

lzma_ret StartWholeFile(lzma_stream* stream, Format format) {
  switch (format) {
    case Format::kXz:
      return lzma_stream_decoder(stream, kLiblzmaMemory, LZMA_CONCATENATED);
    case Format::kLzmaAlone:
      // The plain decoder of .lzma takes headers that xz does not take for one.
      return lzma_auto_decoder(stream, kLiblzmaMemory, LZMA_CONCATENATED);
    case Format::kLzip:
      return lzma_lzip_decoder(stream, kLiblzmaMemory, LZMA_CONCATENATED);
    case Format::kRaw:
    case Format::kAuto:
      break;
  }
  return LZMA_PROG_ERROR;
}

}  // namespace

std::optional<FuzzInput> ParseFuzzInput(const uint8_t* data, size_t size) {
  if (size < kFuzzHeaderBytes) {
    return std::nullopt;
  }
  FuzzInput input;
  input.format = static_cast<Format>((data[0] & 3) % 3);
  input.seed = data[1];
  input.file.assign(reinterpret_cast<const char*>(data) + kFuzzHeaderBytes,
                    size - kFuzzHeaderBytes);
  if (data[0] >= 0x80 && input.format == Format::kXz) {
    FixCrcs(&input.file);
  }
  return input;
}

void FixCrcs(std::string* file) {
  size_t end = file->size() / 4 * 4;
  file->resize(end);
  auto* bytes = reinterpret_cast<uint8_t*>(file->data());
  while (true) {
    while (end >= 4 &&
           std::all_of(bytes + end - 4, bytes + end, [](uint8_t b) { return b == 0; })) {
      end -= 4;
    }
    if (end < 2 * kHeaderBytes + 8) {
      return;
    }
    end = FixStream(bytes, end);
  }
}

Verdict DecodeWithLiblzma(const FuzzInput& input) {
  lzma_stream stream = LZMA_STREAM_INIT;
  const std::unique_ptr<lzma_stream, decltype(&lzma_end)> owner(&stream, &lzma_end);
  Verdict verdict;
  if (input.format == Format::kLzmaAlone && !HasLzmaBeginning(input.file)) {
    return verdict;
  }
  if (StartWholeFile(&stream, input.format) != LZMA_OK) {
    return verdict;
  }
  stream.next_in = reinterpret_cast<const uint8_t*>(input.file.data());
  stream.avail_in = input.file.size();
  std::array<uint8_t, 65536> buffer;
  lzma_ret ret = LZMA_OK;
  while (ret == LZMA_OK) {
    stream.next_out = buffer.data();
    stream.avail_out = buffer.size();
    ret = lzma_code(&stream, LZMA_FINISH);
    verdict.plain.append(reinterpret_cast<const char*>(buffer.data()),
                         buffer.size() - stream.avail_out);
    if (verdict.plain.size() > kLargestPlain) {
      return verdict;
    }
  }
  if (ret == LZMA_MEMLIMIT_ERROR || ret == LZMA_MEM_ERROR) {
    return verdict;
  }
  const bool all_used = stream.avail_in == 0 || input.format == Format::kLzip;
  verdict.outcome = ret == LZMA_STREAM_END && all_used ? Verdict::kDecoded : Verdict::kRefused;
  return verdict;
}

void Require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "does not hold: %s\n", what);
    std::abort();
  }
}

}  // namespace xzfs
