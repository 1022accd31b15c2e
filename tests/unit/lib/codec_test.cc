#include "xzfs/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <string>

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

TEST(Codec, EveryFormatComesBack) {
  for (const StreamFormat format : {StreamFormat::kXz, StreamFormat::kLzmaAlone}) {
    const Bytes stream = Must(Compress(BytesOf(kPlain), {.format = format, .preset = 1}));
    EXPECT_LT(stream.size(), kPlain.size() / 2);
    EXPECT_EQ(TextOf(Must(Decompress(stream))), kPlain);
    EXPECT_EQ(TextOf(Must(Decompress(stream, {.format = format}))), kPlain);
  }
  const std::vector<Filter> chain = {{.id = FilterId::kDelta, .distance_bytes = 4},
                                     {.id = FilterId::kLzma2, .preset = 1}};
  const Bytes raw =
      Must(Compress(BytesOf(kPlain), {.format = StreamFormat::kRaw, .filters = chain}));
  EXPECT_EQ(TextOf(Must(Decompress(raw, {.format = StreamFormat::kRaw, .filters = chain}))),
            kPlain);
}

TEST(Codec, LzipIsDecompressed) {
  const std::string two = MakeLzipMember("one") + MakeLzipMember("two");
  EXPECT_EQ(TextOf(Must(Decompress(BytesOf(two)))), "onetwo");
  EXPECT_EQ(TextOf(Must(Decompress(BytesOf(two), {.format = StreamFormat::kLzip}))), "onetwo");
}

TEST(Codec, NothingIsCompressedToAStreamOfNothing) {
  const Bytes stream = Must(Compress({}));
  EXPECT_FALSE(stream.empty());
  EXPECT_TRUE(Must(Decompress(stream)).empty());
}

TEST(Codec, OptionsThatDoNotExistAreEinval) {
  const auto code = [](const CompressOptions& options) {
    return CodeOf(Compress(BytesOf("text"), options));
  };
  EXPECT_EQ(code({.preset = 10}), EINVAL);
  EXPECT_EQ(code({.format = StreamFormat::kAuto}), EINVAL);
  EXPECT_EQ(code({.format = StreamFormat::kLzip}), EINVAL);
  EXPECT_EQ(code({.format = StreamFormat::kRaw}), EINVAL);
  EXPECT_EQ(code({.format = StreamFormat::kLzmaAlone, .check = Check::kCrc32}), EINVAL);
  EXPECT_EQ(code({.check = Check{7}}), EINVAL);
  EXPECT_EQ(code({.check = Check::kUnknown}), EINVAL);
  EXPECT_EQ(code({.filters = {{.id = FilterId::kDelta}}}), EINVAL);
  EXPECT_EQ(code({.filters = {{.id = FilterId::kLzma1}}}), EINVAL);
  EXPECT_EQ(code({.filters = std::vector<Filter>(5)}), EINVAL);
  EXPECT_EQ(code({.filters = {{.id = FilterId::kLzma2}, {.id = FilterId::kLzma2}}}), EINVAL);
  EXPECT_EQ(code({.filters = {{.id = FilterId{0x7777}}, {.id = FilterId::kLzma2}}}), EINVAL);
  EXPECT_EQ(code({.filters = {{.literal_context_bits = 3, .literal_position_bits = 3}}}), EINVAL);
  EXPECT_EQ(code({.filters = {{.dictionary_bytes = 1}}}), EINVAL);
  EXPECT_EQ(code({.format = StreamFormat::kLzmaAlone, .filters = {{}}}), EINVAL);
  const Bytes stream = Must(Compress(BytesOf("text")));
  EXPECT_EQ(CodeOf(Decompress(stream, {.format = StreamFormat::kRaw})), EINVAL);
  EXPECT_EQ(CodeOf(Decompress(stream, {.filters = {{}}})), EINVAL);
}

TEST(Codec, MemoryLimitsHold) {
  const uint64_t little = uint64_t{1} << 20;
  EXPECT_EQ(CodeOf(Compress(BytesOf(kPlain), {.memory_limit_bytes = little})), EFBIG);
  const Bytes stream = Must(Compress(BytesOf(kPlain)));
  const auto refused = Decompress(stream, {.memory_limit_bytes = little});
  ASSERT_EQ(CodeOf(refused), EFBIG);
  EXPECT_NE(refused.error().message.find(std::to_string(little)), std::string::npos);
  const std::vector<Filter> chain = {{}};
  const Bytes raw =
      Must(Compress(BytesOf(kPlain), {.format = StreamFormat::kRaw, .filters = chain}));
  EXPECT_EQ(
      CodeOf(Decompress(
          raw, {.format = StreamFormat::kRaw, .memory_limit_bytes = little, .filters = chain})),
      EFBIG);
}

TEST(Codec, StreamsWithPaddingAreOneText) {
  const Bytes one = Must(Compress(BytesOf("one"), {.check = Check::kSha256}));
  const Bytes two = Must(Compress(BytesOf("two")));
  const std::string zeros(8, '\0');
  const std::string all = Joined({TextOf(one), zeros, TextOf(two), zeros});
  EXPECT_EQ(TextOf(Must(Decompress(BytesOf(all)))), "onetwo");
  EXPECT_EQ(CodeOf(Decompress(BytesOf(Joined({TextOf(one), std::string(3, '\0')})))), EIO);
  EXPECT_EQ(CodeOf(Decompress(BytesOf(Joined({TextOf(one), "and more"})))), EIO);
}

TEST(Codec, TheFirstStreamAloneLeavesTheRestUnused) {
  const Bytes one = Must(Compress(BytesOf("one"), {.check = Check::kSha256}));
  const std::string all = Joined({TextOf(one), "and more"});
  auto decompressor = Decompressor::Create({.concatenated = false});
  ASSERT_TRUE(decompressor);
  EXPECT_EQ(decompressor->check(), Check::kUnknown);
  EXPECT_EQ(TextOf(Must(decompressor->Decompress(BytesOf(all)))), "one");
  EXPECT_TRUE(decompressor->eof());
  EXPECT_FALSE(decompressor->needs_input());
  EXPECT_EQ(decompressor->check(), Check::kSha256);
  EXPECT_EQ(TextOf(decompressor->unused_data()), "and more");
  EXPECT_TRUE(decompressor->Finish());
  EXPECT_EQ(CodeOf(decompressor->Decompress({})), EINVAL);
  EXPECT_EQ(CodeOf(Decompress(BytesOf(all), {.concatenated = false})), EIO);
}

TEST(Codec, AnyCutOfInputAndOutputGivesTheSame) {
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

// A byte costs no more than a call: if each call moved what is kept this would take minutes.
TEST(Codec, InputThatIsKeptMayBeLargeHoweverLittleIsTaken) {
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

TEST(Codec, AnyCutOfWhatIsCompressedGivesTheSameStream) {
  const Bytes whole = Must(Compress(BytesOf(kPlain), {.preset = 0}));
  auto compressor = Compressor::Create({.preset = 0});
  std::string stream;
  for (size_t at = 0; at < kPlain.size(); at += 7777) {
    stream +=
        TextOf(Must(compressor->Compress(BytesOf(std::string_view(kPlain).substr(at, 7777)))));
  }
  stream += TextOf(Must(compressor->Finish()));
  EXPECT_EQ(stream, TextOf(whole));
  EXPECT_EQ(CodeOf(compressor->Compress({})), EINVAL);
  EXPECT_EQ(CodeOf(compressor->Finish()), EINVAL);
}

TEST(Codec, WhatEndsEarlyOrIsDamagedIsEio) {
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

TEST(Codec, AnErrorStays) {
  auto decompressor = Decompressor::Create();
  EXPECT_EQ(CodeOf(decompressor->Decompress(BytesOf("this is not compressed"))), EIO);
  const Bytes stream = Must(Compress(BytesOf("text")));
  EXPECT_EQ(CodeOf(decompressor->Decompress(stream)), EIO);
  EXPECT_FALSE(decompressor->Finish());
  EXPECT_FALSE(decompressor->eof());
}

TEST(Codec, OutputThatIsLeftMustBeTakenBeforeTheEnd) {
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

TEST(Codec, SupportedChecksAreKnown) {
  for (const Check check : {Check::kNone, Check::kCrc32, Check::kCrc64, Check::kSha256}) {
    EXPECT_TRUE(IsCheckSupported(check));
  }
  EXPECT_FALSE(IsCheckSupported(Check{2}));
  EXPECT_FALSE(IsCheckSupported(Check::kUnknown));
}

}  // namespace
}  // namespace xzfs
