#include "xzfs/compress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <string>

#include "support/temp_dir.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

const std::string kPlain = SomeText(300000);

Bytes Must(Result<Bytes> bytes) {
  EXPECT_TRUE(bytes) << (bytes ? "" : bytes.error().message);
  return bytes ? *std::move(bytes) : Bytes();
}

int CodeOf(const Result<Bytes>& result) { return result ? 0 : result.error().code; }

std::string Joined(std::initializer_list<std::string_view> parts) {
  std::string all;
  for (const std::string_view part : parts) {
    all += part;
  }
  return all;
}

TEST(Compress, EveryFormatDecodesToTheSameBytes) {
  for (const Format format : {Format::kXz, Format::kLzmaAlone}) {
    const Bytes stream = Must(Compress(BytesOf(kPlain), {.format = format, .preset = 1}));
    EXPECT_LT(stream.size(), kPlain.size() / 2);
    EXPECT_EQ(TextOf(Must(Decompress(stream))), kPlain);
    EXPECT_EQ(TextOf(Must(Decompress(stream, {.format = format}))), kPlain);
  }
  const std::vector<Filter> chain = {Delta{.distance_bytes = 4}, Lzma2{.preset = 1}};
  const Bytes raw = Must(Compress(BytesOf(kPlain), {.format = Format::kRaw, .filters = chain}));
  EXPECT_EQ(TextOf(Must(Decompress(raw, {.format = Format::kRaw, .filters = chain}))), kPlain);
}

TEST(Compress, LzipIsDecompressed) {
  const std::string two = MakeLzipMember("one") + MakeLzipMember("two");
  EXPECT_EQ(TextOf(Must(Decompress(BytesOf(two)))), "onetwo");
  EXPECT_EQ(TextOf(Must(Decompress(BytesOf(two), {.format = Format::kLzip}))), "onetwo");
}

TEST(Compress, NoInputIsCompressedToAnEmptyStream) {
  const Bytes stream = Must(Compress(""));
  EXPECT_FALSE(stream.empty());
  EXPECT_TRUE(Must(Decompress(stream)).empty());
}

TEST(Compress, InvalidOptionsAreEinval) {
  const auto code = [](const CompressOptions& options) {
    return CodeOf(Compress(BytesOf("text"), options));
  };
  EXPECT_EQ(code({.preset = 10}), EINVAL);
  EXPECT_EQ(code({.format = Format::kAuto}), EINVAL);
  EXPECT_EQ(code({.format = Format::kLzip}), EINVAL);
  EXPECT_EQ(code({.format = Format::kRaw}), EINVAL);
  EXPECT_EQ(code({.format = Format::kLzmaAlone, .check = Check::kCrc32}), EINVAL);
  EXPECT_EQ(code({.check = Check{7}}), EINVAL);
  EXPECT_EQ(code({.check = Check{16}}), EINVAL);
  EXPECT_EQ(code({.filters = {Delta{}}}), EINVAL);
  EXPECT_EQ(code({.filters = {Lzma1{}}}), EINVAL);
  EXPECT_EQ(code({.filters = std::vector<Filter>(5)}), EINVAL);
  EXPECT_EQ(code({.filters = {Lzma2{}, Lzma2{}}}), EINVAL);
  for (const Machine machine : {Machine{0}, Machine{3}, Machine{11}, Machine{33}, Machine{0x77}}) {
    EXPECT_EQ(code({.filters = {Bcj{.machine = machine}, Lzma2{}}}), EINVAL);
  }
  EXPECT_EQ(code({.filters = {Lzma2{.literal_context_bits = 3, .literal_position_bits = 3}}}),
            EINVAL);
  EXPECT_EQ(code({.filters = {Lzma2{.dictionary_bytes = 1}}}), EINVAL);
  EXPECT_EQ(code({.format = Format::kLzmaAlone, .filters = {Lzma2{}}}), EINVAL);
  const Bytes stream = Must(Compress(BytesOf("text")));
  EXPECT_EQ(CodeOf(Decompress(stream, {.format = Format::kRaw})), EINVAL);
  EXPECT_EQ(CodeOf(Decompress(stream, {.filters = {Lzma2{}}})), EINVAL);
}

TEST(Compress, MemoryLimitsHold) {
  const uint64_t little = uint64_t{1} << 20;
  EXPECT_EQ(CodeOf(Compress(BytesOf(kPlain), {.memory_limit_bytes = little})), EFBIG);
  const Bytes stream = Must(Compress(BytesOf(kPlain)));
  const auto refused = Decompress(stream, {.memory_limit_bytes = little});
  ASSERT_EQ(CodeOf(refused), EFBIG);
  EXPECT_NE(refused.error().message.find(std::to_string(little)), std::string::npos);
  const std::vector<Filter> chain = {Lzma2{}};
  const Bytes raw = Must(Compress(BytesOf(kPlain), {.format = Format::kRaw, .filters = chain}));
  EXPECT_EQ(CodeOf(Decompress(
                raw, {.format = Format::kRaw, .memory_limit_bytes = little, .filters = chain})),
            EFBIG);
}

TEST(Compress, StreamsWithPaddingAreOneText) {
  const Bytes one = Must(Compress(BytesOf("one"), {.check = Check::kSha256}));
  const Bytes two = Must(Compress(BytesOf("two")));
  const std::string zeros(8, '\0');
  const std::string all = Joined({TextOf(one), zeros, TextOf(two), zeros});
  EXPECT_EQ(TextOf(Must(Decompress(BytesOf(all)))), "onetwo");
  EXPECT_EQ(CodeOf(Decompress(BytesOf(Joined({TextOf(one), std::string(3, '\0')})))), EIO);
  EXPECT_EQ(CodeOf(Decompress(BytesOf(Joined({TextOf(one), "and more"})))), EIO);
}

TEST(Compress, TheFirstStreamAloneLeavesTheRestUnused) {
  const Bytes one = Must(Compress(BytesOf("one"), {.check = Check::kSha256}));
  const std::string all = Joined({TextOf(one), "and more"});
  auto decompressor = Decompressor::Create({.concatenated = false});
  ASSERT_TRUE(decompressor);
  EXPECT_EQ(decompressor->check(), std::nullopt);
  EXPECT_EQ(TextOf(Must(decompressor->Decompress(BytesOf(all)))), "one");
  EXPECT_TRUE(decompressor->eof());
  EXPECT_FALSE(decompressor->needs_input());
  EXPECT_EQ(decompressor->check(), Check::kSha256);
  EXPECT_EQ(TextOf(decompressor->unused_data()), "and more");
  EXPECT_TRUE(decompressor->Finish());
  EXPECT_EQ(CodeOf(decompressor->Decompress({})), EINVAL);
  EXPECT_EQ(CodeOf(Decompress(BytesOf(all), {.concatenated = false})), EIO);
}

TEST(Compress, AnyCutOfInputAndOutputGivesTheSame) {
  const Bytes stream = Must(Compress(BytesOf(kPlain), {.preset = 0}));
  for (const size_t in_step : {size_t{1}, size_t{977}, stream.size()}) {
    for (const size_t out_step : {size_t{100}, size_t{65536}, Decompressor::kNoLimit}) {
      auto decompressor = Decompressor::Create();
      std::string plain;
      for (size_t at = 0; at < stream.size();) {
        std::span<const std::byte> in;
        if (decompressor->needs_input()) {
          in = std::span(stream).subspan(at, std::min(in_step, stream.size() - at));
          at += in.size();
        }
        const Bytes out = Must(decompressor->Decompress(in, out_step));
        ASSERT_LE(out.size(), out_step);
        plain += TextOf(out);
      }
      while (!decompressor->needs_input()) {
        plain += TextOf(Must(decompressor->Decompress({}, out_step)));
      }
      EXPECT_FALSE(decompressor->eof());
      EXPECT_TRUE(decompressor->Finish());
      EXPECT_TRUE(decompressor->eof());
      ASSERT_EQ(plain, kPlain) << in_step << " " << out_step;
    }
  }
}

// A byte costs no more than a call: if each call moved the kept input, this would take minutes.
TEST(Compress, LargeKeptInputIsCheapHoweverLittleOutputIsTaken) {
  const std::string plain = SomeNoise(1 << 18) + kPlain;
  const Bytes stream = Must(Compress(BytesOf(plain), {.preset = 0}));
  const std::span<const std::byte> all(stream);
  for (const size_t most : {size_t{1}, size_t{7}, size_t{4096}, size_t{65536}}) {
    for (const size_t first_bytes : {stream.size(), stream.size() / 2, size_t{100}}) {
      auto decompressor = Decompressor::Create();
      std::string got(TextOf(Must(decompressor->Decompress(all.first(first_bytes), most))));
      got += TextOf(Must(decompressor->Decompress(all.subspan(first_bytes), most)));
      while (!decompressor->needs_input()) {
        got += TextOf(Must(decompressor->Decompress({}, most)));
      }
      EXPECT_TRUE(decompressor->Finish());
      EXPECT_TRUE(got == plain) << most << " bytes a call, " << first_bytes << " at first";
    }
  }
}

TEST(Compress, AnyCutOfTheInputCompressesToTheSameStream) {
  const Bytes whole = Must(Compress(BytesOf(kPlain), {.preset = 0}));
  auto compressor = Compressor::Create({.preset = 0});
  std::string stream;
  for (size_t at = 0; at < kPlain.size(); at += 7777) {
    stream +=
        TextOf(Must(compressor->Compress(BytesOf(std::string_view(kPlain).substr(at, 7777)))));
  }
  stream += TextOf(Must(compressor->Finish()));
  EXPECT_EQ(stream, TextOf(whole));
  EXPECT_EQ(CodeOf(compressor->Compress("")), EINVAL);
  EXPECT_EQ(CodeOf(compressor->Finish()), EINVAL);
}

TEST(Compress, TruncatedOrDamagedInputIsEio) {
  const Bytes stream = Must(Compress(BytesOf(kPlain.substr(0, 1000)), {.preset = 0}));
  for (size_t end = 0; end < stream.size(); ++end) {
    ASSERT_EQ(CodeOf(Decompress(std::span(stream).first(end))), EIO) << end;
  }
  for (size_t at = 0; at < stream.size(); ++at) {
    Bytes damaged = stream;
    damaged[at] ^= std::byte{1};
    ASSERT_EQ(CodeOf(Decompress(damaged)), EIO) << at;
  }
}

TEST(Compress, AnErrorStays) {
  auto decompressor = Decompressor::Create();
  EXPECT_EQ(CodeOf(decompressor->Decompress(BytesOf("this is not compressed"))), EIO);
  const Bytes stream = Must(Compress(BytesOf("text")));
  EXPECT_EQ(CodeOf(decompressor->Decompress(stream)), EIO);
  EXPECT_FALSE(decompressor->Finish());
  EXPECT_FALSE(decompressor->eof());
}

TEST(Compress, RemainingOutputMustBeTakenBeforeTheEnd) {
  const Bytes stream = Must(Compress(BytesOf(kPlain), {.preset = 0}));
  auto decompressor = Decompressor::Create();
  Must(decompressor->Decompress(stream, 10));
  EXPECT_FALSE(decompressor->needs_input());
  const Status early = decompressor->Finish();
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code, EINVAL);
  Must(decompressor->Decompress({}));
  EXPECT_TRUE(decompressor->Finish());
}

// What `compressor` makes of `plain` through buffers of `in_step` and `out_step` bytes.
std::string CompressThroughBuffers(Compressor& compressor, std::string_view plain, size_t in_step,
                                   size_t out_step) {
  std::string stream;
  Bytes out(out_step);
  for (size_t at = 0; at < plain.size();) {
    const auto coded = compressor.Compress(BytesOf(plain.substr(at, in_step)), out);
    EXPECT_TRUE(coded);
    EXPECT_TRUE(coded->consumed != 0 || coded->produced != 0);
    stream += TextOf(std::span(out).first(coded->produced));
    at += coded->consumed;
  }
  while (!compressor.finished()) {
    const auto produced = compressor.Finish(out);
    EXPECT_TRUE(produced);
    stream += TextOf(std::span(out).first(*produced));
  }
  return stream;
}

TEST(Compress, BuffersOfTheCallerGetTheSameStream) {
  const Bytes whole = Must(Compress(kPlain, {.preset = 0}));
  for (const size_t in_step : {size_t{1000}, kPlain.size()}) {
    for (const size_t out_step : {size_t{1}, size_t{333}, size_t{1} << 20}) {
      auto compressor = Compressor::Create({.preset = 0});
      EXPECT_EQ(CompressThroughBuffers(*compressor, kPlain, in_step, out_step), TextOf(whole));
      Bytes out(10);
      EXPECT_EQ(compressor->Finish(out).error().kind, ErrorKind::kInvalid);
      EXPECT_EQ(compressor->Compress(BytesOf("x"), out).error().kind, ErrorKind::kInvalid);
    }
  }
}

TEST(Compress, BuffersOfTheCallerGetWhatIsDecompressed) {
  const std::string stream = std::string(TextOf(Must(Compress(kPlain, {.preset = 0}))));
  for (const size_t in_step : {size_t{1}, size_t{977}, stream.size()}) {
    for (const size_t out_step : {size_t{1}, size_t{4096}, size_t{1} << 20}) {
      auto decompressor = Decompressor::Create();
      Bytes out(out_step);
      std::string plain;
      for (size_t at = 0; at < stream.size() || !decompressor->needs_input();) {
        const auto coded = decompressor->Decompress(
            BytesOf(std::string_view(stream).substr(std::min(at, stream.size()), in_step)), out);
        ASSERT_TRUE(coded) << coded.error().message;
        plain += TextOf(std::span(out).first(coded->produced));
        at += coded->consumed;
      }
      EXPECT_TRUE(decompressor->Finish());
      EXPECT_TRUE(plain == kPlain) << in_step << " " << out_step;
    }
  }
}

TEST(Compress, WithoutRoomNothingIsTaken) {
  auto decompressor = Decompressor::Create();
  const Bytes stream = Must(Compress("text"));
  const auto coded = decompressor->Decompress(stream, std::span<std::byte>());
  ASSERT_TRUE(coded);
  EXPECT_EQ(coded->consumed + coded->produced, 0U);
  EXPECT_FALSE(decompressor->needs_input());
}

TEST(Compress, WhatFollowsTheFirstStreamIsLeftToTheCallerOfBuffers) {
  const std::string one(TextOf(Must(Compress("one"))));
  const std::string all = one + "and more";
  auto decompressor = Decompressor::Create({.concatenated = false});
  Bytes out(100);
  const auto coded = decompressor->Decompress(BytesOf(all), out);
  ASSERT_TRUE(coded);
  EXPECT_EQ(coded->consumed, one.size());
  EXPECT_TRUE(decompressor->eof());
  EXPECT_TRUE(decompressor->unused_data().empty());
}

TEST(Compress, InputThatIsKeptIsNotMixedWithBuffers) {
  const Bytes stream = Must(Compress(kPlain, {.preset = 0}));
  auto decompressor = Decompressor::Create();
  Bytes all = Must(decompressor->Decompress(stream, 10));
  Bytes out(kPlain.size());
  EXPECT_EQ(decompressor->Decompress({}, std::span(out)).error().kind, ErrorKind::kInvalid);
  EXPECT_EQ(Must(decompressor->Decompress({})).size(), kPlain.size() - 10);
  EXPECT_TRUE(decompressor->Finish());
}

TEST(Compress, StreamsGoFromASourceToASink) {
  std::stringstream plain(kPlain);
  std::stringstream compressed;
  std::stringstream again;
  ASSERT_TRUE(CompressStream(StreamSource(plain), StreamSink(compressed), {.preset = 0}));
  EXPECT_EQ(compressed.str(), TextOf(Must(Compress(kPlain, {.preset = 0}))));
  ASSERT_TRUE(DecompressStream(StreamSource(compressed), StreamSink(again)));
  EXPECT_TRUE(again.str() == kPlain);
}

TEST(Compress, StreamsThatEndEarlyOrGoOnAreDamaged) {
  const std::string stream(TextOf(Must(Compress(kPlain, {.preset = 0}))));
  for (const std::string& bad :
       {stream.substr(0, stream.size() - 1), stream + "and more", std::string()}) {
    std::stringstream compressed(bad);
    std::stringstream plain;
    const Status done = DecompressStream(StreamSource(compressed), StreamSink(plain));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind, ErrorKind::kDamaged) << done.error().message;
  }
  std::stringstream two(stream + stream);
  std::stringstream plain;
  EXPECT_EQ(
      DecompressStream(StreamSource(two), StreamSink(plain), {.concatenated = false}).error().kind,
      ErrorKind::kDamaged);
}

TEST(Compress, DescriptorsAreSourcesAndSinks) {
  const TempDir dir;
  dir.Write("plain", kPlain);
  const int from = open((dir / "plain").c_str(), O_RDONLY);
  const int to = open((dir / "a.xz").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_TRUE(CompressStream(DescriptorSource(from), DescriptorSink(to), {.preset = 0}));
  ASSERT_EQ(lseek(to, 0, SEEK_SET), 0);
  std::stringstream again;
  ASSERT_TRUE(DecompressStream(DescriptorSource(to), StreamSink(again)));
  EXPECT_TRUE(again.str() == kPlain);
  const Status refused = CompressStream(StreamSource(again), DescriptorSink(from));
  close(from);
  close(to);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, EBADF);
  EXPECT_EQ(refused.error().kind, ErrorKind::kSystem);
}

TEST(Compress, AFailureOfASinkIsPassedOn) {
  const Sink full = [](std::span<const std::byte>) -> Status {
    return Failure(Error{ErrorKind::kSystem, ENOSPC, "full"});
  };
  std::stringstream plain(kPlain);
  EXPECT_EQ(CompressStream(StreamSource(plain), full).error().code, ENOSPC);
}

TEST(Compress, ErrorsSayOfWhatKindTheyAre) {
  const auto kind = [](const auto& result) { return result.error().kind; };
  EXPECT_EQ(kind(Compress("text", {.preset = 10})), ErrorKind::kInvalid);
  EXPECT_EQ(kind(Compress("text", {.memory_limit_bytes = 1000})), ErrorKind::kOverLimit);
  EXPECT_EQ(kind(Decompress(BytesOf("this is not compressed"))), ErrorKind::kDamaged);
  std::string stream(TextOf(Must(Compress("text"))));
  stream[7] = 5;  // a Check that the format reserves, with the header's CRC32 of another
  EXPECT_EQ(kind(Decompress(BytesOf(stream))), ErrorKind::kDamaged);
}

TEST(Compress, SupportedChecksAreKnown) {
  for (const Check check : {Check::kNone, Check::kCrc32, Check::kCrc64, Check::kSha256}) {
    EXPECT_TRUE(IsCheckSupported(check));
  }
  EXPECT_FALSE(IsCheckSupported(Check{2}));
  EXPECT_FALSE(IsCheckSupported(Check{16}));
}

}  // namespace
}  // namespace xzfs
