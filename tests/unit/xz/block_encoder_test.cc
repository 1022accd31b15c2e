#include "xz/block_encoder.h"

#include <gtest/gtest.h>
#include <lzma.h>

#include <cerrno>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "decode_util.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"
#include "xz/incompressible.h"
#include "xz/stream_builder.h"

namespace xzfs {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
constexpr Check kChecks[] = {kCheckNone, kCheckCrc32, kCheckCrc64, kCheckSha256};

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string Text(std::span<const std::byte> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

EncodedBlock Encode(const EncodeOptions& options, std::string_view plain) {
  Result<EncodedBlock> encoded = BlockEncoder(options).Encode(Bytes(plain));
  EXPECT_TRUE(encoded) << encoded.error().message;
  return encoded ? *std::move(encoded) : EncodedBlock();
}

// A file of one Stream.
class FileOfBlocks {
 public:
  explicit FileOfBlocks(Check check) : stream_(check), bytes_(Text(stream_.Header())) {}

  void Add(const EncodedBlock& block) {
    EXPECT_EQ(block.bytes.size() % 4, 0u);
    EXPECT_EQ((block.unpadded_size + 3) / 4 * 4, block.bytes.size());
    EXPECT_EQ(bytes_.size(), stream_.position());
    EXPECT_TRUE(stream_.Add(block.unpadded_size, block.plain_size));
    bytes_ += Text(block.bytes);
  }
  std::string Finish() { return bytes_ + Text(stream_.Finish().value()); }

 private:
  StreamBuilder stream_;
  std::string bytes_;
};

// `plain` in Blocks of `block_bytes`, all by one encoder.
std::string EncodeFile(const EncodeOptions& options, std::string_view plain, size_t block_bytes) {
  FileOfBlocks file(options.check);
  BlockEncoder encoder(options);
  for (size_t at = 0; at < plain.size(); at += block_bytes) {
    const Result<EncodedBlock> block = encoder.Encode(Bytes(plain.substr(at, block_bytes)));
    if (!block) {
      ADD_FAILURE() << block.error().message;
      return {};
    }
    file.Add(*block);
  }
  return file.Finish();
}

// The bytes that liblzma, the decoder of `xz -d`, gives for a .xz file.
std::string DecodeWithLiblzma(const std::string& file, size_t plain_size) {
  std::string plain(plain_size + 1, '\0');
  uint64_t memory_limit = UINT64_MAX;
  size_t in_position = 0;
  size_t out_position = 0;
  const lzma_ret ret = lzma_stream_buffer_decode(
      &memory_limit, 0, nullptr, reinterpret_cast<const uint8_t*>(file.data()), &in_position,
      file.size(), reinterpret_cast<uint8_t*>(plain.data()), &out_position, plain.size());
  EXPECT_EQ(ret, LZMA_OK);
  EXPECT_EQ(in_position, file.size());
  plain.resize(out_position);
  return plain;
}

// The file that `xz -T2 --block-size` writes: from liblzma's own encoder for threads.
std::string EncodeWithLiblzma(const EncodeOptions& options, std::string_view plain,
                              size_t block_bytes) {
  lzma_mt how{};
  how.threads = 2;
  how.block_size = block_bytes;
  how.preset = options.preset | (options.extreme ? LZMA_PRESET_EXTREME : 0);
  how.check = static_cast<lzma_check>(options.check);
  lzma_stream stream = LZMA_STREAM_INIT;
  EXPECT_EQ(lzma_stream_encoder_mt(&stream, &how), LZMA_OK);
  std::string file(lzma_stream_buffer_bound(plain.size()) + 100 * (plain.size() / block_bytes),
                   '\0');
  stream.next_in = reinterpret_cast<const uint8_t*>(plain.data());
  stream.avail_in = plain.size();
  stream.next_out = reinterpret_cast<uint8_t*>(file.data());
  stream.avail_out = file.size();
  lzma_ret ret = LZMA_OK;
  while (ret == LZMA_OK) {
    ret = lzma_code(&stream, LZMA_FINISH);
  }
  EXPECT_EQ(ret, LZMA_STREAM_END);
  file.resize(stream.total_out);
  lzma_end(&stream);
  return file;
}

void ExpectIsAFileOf(const std::string& file, std::string_view plain) {
  EXPECT_TRUE(DecodeWithLiblzma(file, plain.size()) == plain);
  const MemFile stored(file);
  const Result<BlockIndex> index = ReadIndex(stored);
  ASSERT_TRUE(index) << index.error().message;
  const Result<std::string> decoded = DecodeAll(stored, *index);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_TRUE(*decoded == plain);
}

// Text, records of numbers and noise, as a program's files may be.
std::string SomeMixture(size_t size) {
  std::mt19937 random(5);
  std::string mixture = SomeText(size / 2);
  for (uint32_t number = 0; mixture.size() < size - size / 8;
       number += static_cast<uint32_t>(random() % 64)) {
    for (const uint32_t field : {number, static_cast<uint32_t>(random() % 3000), 0x40u}) {
      mixture.append(reinterpret_cast<const char*>(&field), sizeof(field));
    }
  }
  mixture += SomeNoise(size / 16);
  mixture += SomeText(size);
  mixture.resize(size);
  return mixture;
}

TEST(BlockEncoderTest, ItsOutputIsAnXzFileForEveryCheckPresetAndSize) {
  const std::string plain = SomeMixture(3 * kMiB);
  std::vector<EncodeOptions> all;
  for (const Check check : kChecks) {
    all.push_back({.preset = 0, .check = check});
  }
  all.push_back({.preset = 1});
  all.push_back({.preset = 6});
  all.push_back({.preset = 9, .extreme = true});
  for (const EncodeOptions& options : all) {
    BlockEncoder encoder(options);
    for (const size_t size : {size_t{1}, size_t{4095}, 4 * kKiB, 64 * kKiB + 1, kMiB, 3 * kMiB}) {
      SCOPED_TRACE(testing::Message() << "preset " << options.preset << ", check "
                                      << static_cast<int>(options.check) << ", size " << size);
      const std::string_view part = std::string_view(plain).substr(plain.size() - size);
      const Result<EncodedBlock> block = encoder.Encode(Bytes(part));
      ASSERT_TRUE(block) << block.error().message;
      EXPECT_EQ(block->plain_size, size);
      FileOfBlocks file(options.check);
      file.Add(*block);
      ExpectIsAFileOf(file.Finish(), part);
    }
  }
}

TEST(BlockEncoderTest, StoredBlocksAreValidForEveryCheck) {
  for (const Check check : kChecks) {
    for (const size_t size : {size_t{1}, size_t{4095}, 4 * kKiB, 64 * kKiB, 64 * kKiB + 1, kMiB}) {
      const std::string plain = SomeNoise(size);
      const EncodedBlock block = Encode({.check = check}, plain);
      EXPECT_TRUE(block.stored);
      EXPECT_LE(block.bytes.size(), size + 3 * (size / (64 * kKiB)) + 100);
      FileOfBlocks file(check);
      file.Add(block);
      ExpectIsAFileOf(file.Finish(), plain);
    }
  }
}

TEST(BlockEncoderTest, ManyBlocksWithAPartialLastAreOneFile) {
  const std::string plain = SomeText(300 * kKiB) + SomeNoise(150 * kKiB) + SomeText(77);
  for (const Check check : kChecks) {
    for (const size_t block_bytes : {size_t{4096}, 50 * kKiB, kMiB}) {
      ExpectIsAFileOf(EncodeFile({.preset = 1, .check = check}, plain, block_bytes), plain);
    }
  }
}

TEST(BlockEncoderTest, ABlockFitsIntoEveryStreamWithItsCheck) {
  for (const Check check : kChecks) {
    const std::string first = SomeText(70000, 1);
    const std::string second = SomeNoise(5000, 2);
    const std::string third = SomeText(300, 3);
    const EncodedBlock a = Encode({.preset = 6, .check = check}, first);
    const EncodedBlock b = Encode({.preset = 0, .check = check}, second);
    // A Block of a file that another program wrote, as it stands there.
    const std::string foreign = MakeXz(third, third.size(), check);
    const BlockInfo info = ReadIndex(MemFile(foreign)).value().Block(0);
    EncodedBlock c;
    const auto from =
        Bytes(foreign).subspan(info.compressed_offset, (info.unpadded_size + 3) & ~3u);
    c.bytes.assign(from.begin(), from.end());
    c.unpadded_size = info.unpadded_size;
    c.plain_size = info.plain_size;
    FileOfBlocks file(check);
    for (const EncodedBlock& block : {c, a, b, a, c}) {
      file.Add(block);
    }
    ExpectIsAFileOf(file.Finish(), third + first + second + first + third);
  }
}

TEST(BlockEncoderTest, TheBlockDependsOnNothingBefore) {
  const EncodeOptions options{.preset = 1};
  BlockEncoder encoder(options);
  for (const size_t size : {kMiB, 10 * kKiB, kMiB, 3 * kMiB, 100 * kKiB}) {
    const std::string plain = SomeText(size, static_cast<uint32_t>(size));
    EXPECT_EQ(encoder.Encode(Bytes(plain)).value().bytes, Encode(options, plain).bytes);
  }
}

TEST(BlockEncoderTest, IsNoLargerThanTheOutputOfXz) {
  const std::string plain = SomeMixture(kMiB + 12345);
  for (const unsigned preset : {0u, 3u, 4u, 6u, 9u}) {
    for (const size_t block_bytes : {16 * kKiB, 100 * kKiB, kMiB, 4 * kMiB}) {
      const EncodeOptions options{.preset = preset, .extreme = preset == 9};
      const auto ours = static_cast<double>(EncodeFile(options, plain, block_bytes).size());
      const auto theirs =
          static_cast<double>(EncodeWithLiblzma(options, plain, block_bytes).size());
      EXPECT_LE(ours, theirs * 1.005) << "preset " << preset << ", Blocks of " << block_bytes;
    }
  }
}

TEST(BlockEncoderTest, TheSizesAreInTheBlockHeader) {
  for (const std::string& plain : {SomeText(100000), SomeNoise(100000), std::string("x")}) {
    const EncodedBlock block = Encode({}, plain);
    EXPECT_EQ(std::to_integer<int>(block.bytes[1]) & 0xC0, 0xC0);
  }
}

TEST(BlockEncoderTest, DecodingNeedsNoLargerDictionaryThanTheBlock) {
  struct {
    size_t size;
    const char* filters;
  } const kCases[] = {{1, "lzma2:dict=4KiB"},           {4096, "lzma2:dict=4KiB"},
                      {4097, "lzma2:dict=6KiB"},        {6145, "lzma2:dict=8KiB"},
                      {64 * kKiB, "lzma2:dict=64KiB"},  {64 * kKiB + 1, "lzma2:dict=96KiB"},
                      {kMiB, "lzma2:dict=1MiB"},        {3 * kMiB, "lzma2:dict=3MiB"},
                      {3 * kMiB + 1, "lzma2:dict=4MiB"}};
  for (const auto& [size, filters] : kCases) {
    const MemFile file(EncodeFile({.preset = 3}, std::string(size, 'a'), size));
    const BlockIndex index = ReadIndex(file).value();
    EXPECT_EQ(DescribeFilters(file, index, index.Block(0)).value(), filters) << size;
  }
  const MemFile file(EncodeFile({.preset = 0}, std::string(kMiB, 'a'), kMiB));
  const BlockIndex index = ReadIndex(file).value();
  EXPECT_EQ(DescribeFilters(file, index, index.Block(0)).value(), "lzma2:dict=256KiB")
      << "no more than the preset's";
}

TEST(BlockEncoderTest, ACancelledEncoderSaysSoAndGoesOnAfterwards) {
  BlockEncoder encoder({.preset = 1});
  const std::string plain = SomeText(200000);
  const EncodedBlock expected = encoder.Encode(Bytes(plain)).value();
  std::atomic<bool> cancelled = true;
  for (const std::string& any : {plain, SomeNoise(200000)}) {
    const Result<EncodedBlock> encoded = encoder.Encode(Bytes(any), &cancelled);
    ASSERT_FALSE(encoded);
    EXPECT_EQ(encoded.error().code, ECANCELED);
  }
  cancelled = false;
  EXPECT_EQ(encoder.Encode(Bytes(plain), &cancelled).value().bytes, expected.bytes);
}

TEST(BlockEncoderTest, CancellingStopsABlockThatIsBeingEncoded) {
  BlockEncoder encoder({.preset = 9, .extreme = true});
  const std::string plain = SomeText(24 * kMiB);
  std::atomic<bool> cancelled = false;
  std::chrono::steady_clock::time_point asked;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // it is running by then
    asked = std::chrono::steady_clock::now();
    cancelled = true;
  });
  const Result<EncodedBlock> encoded = encoder.Encode(Bytes(plain), &cancelled);
  const auto answered = std::chrono::steady_clock::now();
  other.join();
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().code, ECANCELED);
  // The target is half a second; a busy machine may need longer.
  EXPECT_LT(answered - asked, std::chrono::seconds(3));
  const std::string small = SomeText(5000);
  EXPECT_EQ(encoder.Encode(Bytes(small), &cancelled).error().code, ECANCELED);
  cancelled = false;
  EXPECT_EQ(encoder.Encode(Bytes(small), &cancelled).value().bytes,
            Encode({.preset = 9, .extreme = true}, small).bytes);
}

TEST(BlockEncoderTest, OptionsThatLiblzmaDoesNotHaveAreRefused) {
  for (const EncodeOptions& options :
       {EncodeOptions{.preset = 10}, EncodeOptions{.check = Check{5}},
        EncodeOptions{.check = Check{16}}}) {
    const Result<EncodedBlock> encoded = BlockEncoder(options).Encode(Bytes("abc"));
    ASSERT_FALSE(encoded);
    EXPECT_EQ(encoded.error().code, EINVAL);
  }
  EXPECT_EQ(BlockEncoder::MemoryBytes({.preset = 10}, 1), UINT64_MAX);
}

TEST(BlockEncoderTest, MemoryGrowsWithTheBlockUpToThePreset) {
  const uint64_t small = BlockEncoder::MemoryBytes({}, 64 * kKiB);
  const uint64_t medium = BlockEncoder::MemoryBytes({}, kMiB);
  const uint64_t large = BlockEncoder::MemoryBytes({}, 64 * kMiB);
  EXPECT_GT(small, 128 * kKiB);
  EXPECT_LT(small, 4 * kMiB);
  EXPECT_GT(medium, small);
  EXPECT_LT(medium, 20 * kMiB);
  EXPECT_GT(large, 200 * kMiB) << "94 MiB as xz says, and the Block twice";
  EXPECT_LT(large, 240 * kMiB);
}

// Random samples of `bits` bits, in two bytes each.
std::string SomeSamples(size_t count, unsigned bits) {
  std::mt19937 random(3);
  std::string samples;
  for (size_t i = 0; i < count; ++i) {
    const auto sample = static_cast<uint16_t>(random() & ((1u << bits) - 1));
    samples.push_back(static_cast<char>(sample & 0xFF));
    samples.push_back(static_cast<char>(sample >> 8));
  }
  return samples;
}

std::string Base64Like(size_t size) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text = SomeNoise(size);
  for (char& byte : text) {
    byte = kDigits[static_cast<uint8_t>(byte) % 64];
  }
  return text;
}

// Bytes that are all equally frequent, each close to the one before.
std::string SomeWalk(size_t size) {
  std::mt19937 random(4);
  std::string walk(size, '\0');
  uint32_t at = 0;
  for (char& byte : walk) {
    at += static_cast<uint32_t>(random() % 32);
    byte = static_cast<char>(at & 0xFF);
  }
  return walk;
}

std::string Repeat(const std::string& what, size_t times) {
  std::string all;
  for (size_t i = 0; i < times; ++i) {
    all += what;
  }
  return all;
}

TEST(LooksIncompressibleTest, IncompressibleDataIsRecognised) {
  for (const size_t size : {4 * kKiB, 10 * kKiB, 31 * kKiB, 33 * kKiB, 127 * kKiB, kMiB + 1}) {
    for (uint32_t seed = 1; seed <= 5; ++seed) {
      EXPECT_TRUE(LooksIncompressible(Bytes(SomeNoise(size, seed)))) << size;
    }
  }
  const std::string archive = EncodeWithLiblzma({}, SomeText(3 * kMiB), 3 * kMiB);
  EXPECT_TRUE(LooksIncompressible(Bytes(archive)));
  EXPECT_TRUE(LooksIncompressible(Bytes(SomeNoise(kMiB) + SomeText(kKiB))))
      << "not worth the encoder's time";
}

TEST(LooksIncompressibleTest, ShortDataIsLeftToTheEncoder) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{4095}}) {
    EXPECT_FALSE(LooksIncompressible(Bytes(SomeNoise(size)))) << size;
  }
}

TEST(LooksIncompressibleTest, DataThatTheEncoderCanCompressIsLeftToIt) {
  const std::pair<const char*, std::string> kCases[] = {
      {"text", SomeText(200 * kKiB)},
      {"zeros", std::string(kMiB, '\0')},
      {"few zeros", std::string(4096, '\0')},
      {"base64", Base64Like(200 * kKiB)},
      {"little base64", Base64Like(4096)},
      {"12-bit samples", SomeSamples(100 * kKiB, 12)},
      {"15-bit samples", SomeSamples(100 * kKiB, 15)},
      {"a chunk of noise that repeats", Repeat(SomeNoise(64 * kKiB), 16)},
      {"a small chunk of noise that repeats", Repeat(SomeNoise(100), 100)},
      {"a chunk of noise that repeats at odd places",
       SomeNoise(300 * kKiB, 1) + SomeNoise(33333, 2) + SomeNoise(400001, 3) + SomeNoise(33333, 2)},
      {"a chunk that repeats far away",
       SomeNoise(100 * kKiB, 2) + SomeNoise(3 * kMiB, 1) + SomeNoise(100 * kKiB, 2)},
      {"noise and 3 % zeros", SomeNoise(kMiB) + std::string(32 * kKiB, '\0')},
      {"noise and 3 % text", SomeText(32 * kKiB) + SomeNoise(kMiB)},
      {"noise and 6 % text behind", SomeNoise(kMiB) + SomeText(64 * kKiB)},
      {"a picture with all shades", SomeWalk(200 * kKiB)},
      {"a small picture with all shades", SomeWalk(40 * kKiB)},
  };
  for (const auto& [name, plain] : kCases) {
    EXPECT_FALSE(LooksIncompressible(Bytes(plain))) << name;
    const EncodedBlock block = Encode({.preset = 4}, plain);
    EXPECT_FALSE(block.stored) << name;
    EXPECT_LT(block.bytes.size(), plain.size() - plain.size() / 100) << name;
  }
}

}  // namespace
}  // namespace xzfs
