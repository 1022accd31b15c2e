// A Block that our decoder takes for damaged is decoded by liblzma, whose word counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "decode_util.h"
#include "support/flaky_file.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

constexpr uint64_t kBlock = 400'000;

class DecoderFallbackTest : public testing::Test {
 protected:
  DecoderFallbackTest() { builder_.AddStream(SomeText(kBlock), kBlock); }

  static std::unique_ptr<BlockDecoder> Open(const MemFile& file) {
    const BlockIndex index = ReadIndex(file).value();
    return BlockDecoder::Open(file, index, index.Block(0), kTestMemoryLimit).value();
  }

  static Status Decode(BlockDecoder& decoder, const MemFile& file, std::string& out) {
    return decoder.Decode(file, std::as_writable_bytes(std::span(out)));
  }

  XzBuilder builder_;
};

TEST_F(DecoderFallbackTest, LiblzmaIsNotAskedAboutASoundBlock) {
  const MemFile file(builder_.bytes());
  const auto decoder = Open(file);
  std::string out(kBlock, 0);
  ASSERT_TRUE(Decode(*decoder, file, out));
  EXPECT_TRUE(out == builder_.plain());
  EXPECT_EQ(decoder->TakeVerdict(), DecoderVerdict::kNotAsked);
}

TEST_F(DecoderFallbackTest, LiblzmaSaysWhatIsWrongWithADamagedBlock) {
  std::string bytes = builder_.bytes();
  bytes[builder_.block_ends()[0] - 1] ^= 1;  // the Check
  const MemFile file(bytes);
  const auto decoder = Open(file);
  std::string out(kBlock, 0);
  const Status status = Decode(*decoder, file, out);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, EIO);
  EXPECT_EQ(decoder->TakeVerdict(), DecoderVerdict::kConfirmed);
  EXPECT_EQ(decoder->TakeVerdict(), DecoderVerdict::kNotAsked) << "it is told once";
}

TEST_F(DecoderFallbackTest, WhatOnlyOursCannotDecodeComesFromLiblzma) {
  for (uint64_t wrong = builder_.block_offsets()[0] + 20; wrong < builder_.block_ends()[0];
       wrong += 977) {
    const FlakyFile file(builder_, wrong);
    const auto decoder = Open(file);
    std::string out(kBlock, 0);
    const Status status = Decode(*decoder, file, out);
    ASSERT_TRUE(status) << wrong << status.error().message;
    EXPECT_TRUE(out == builder_.plain()) << wrong;
    EXPECT_EQ(decoder->TakeVerdict(), DecoderVerdict::kRescued) << wrong;
  }
}

TEST_F(DecoderFallbackTest, InStepsItGoesOnIfWhatOursGaveIsRightAndFailsIfNot) {
  int rescued = 0;
  int wrong = 0;
  for (uint64_t byte = builder_.block_offsets()[0] + 20; byte < builder_.block_ends()[0];
       byte += 1009) {
    const FlakyFile file(builder_, byte);
    const auto decoder = Open(file);
    bool was_right = true;
    Status status;
    DecoderVerdict verdict = DecoderVerdict::kNotAsked;
    while (status && decoder->position() < kBlock) {
      const uint64_t at = decoder->position();
      std::string out(std::min<uint64_t>(10'000, kBlock - at), 0);
      status = Decode(*decoder, file, out);
      if (const DecoderVerdict now = decoder->TakeVerdict(); now != DecoderVerdict::kNotAsked) {
        verdict = now;
      }
      was_right = was_right && (!status || out == builder_.plain().substr(at, out.size()));
    }
    if (was_right && status) {
      EXPECT_EQ(verdict, DecoderVerdict::kRescued) << byte;
      EXPECT_EQ(decoder->most_history_bytes(), 0u) << "it has no restart points";
      ++rescued;
    } else {
      EXPECT_EQ(verdict, DecoderVerdict::kWrong) << byte;
      EXPECT_FALSE(was_right) << byte;
      ASSERT_FALSE(status) << byte;
      EXPECT_EQ(status.error().kind, ErrorKind::kSystem) << "the Block is not damaged";
      ++wrong;
    }
  }
  EXPECT_GT(rescued, 10);
  EXPECT_GT(wrong, 10);
}

TEST_F(DecoderFallbackTest, APointFromBeforeIsForOursAgain) {
  const FlakyFile file(builder_, builder_.block_ends()[0] - 10);  // the Check
  const auto decoder = Open(file);
  std::string half(kBlock / 2, 0);
  ASSERT_TRUE(Decode(*decoder, file, half));
  const DecoderMark mark = decoder->Mark();
  std::vector<std::byte> history;
  for (const std::span<const std::byte> piece : decoder->history()) {
    history.insert(history.end(), piece.begin(), piece.end());
  }
  ASSERT_TRUE(Decode(*decoder, file, half));
  ASSERT_EQ(decoder->TakeVerdict(), DecoderVerdict::kRescued);
  EXPECT_LE(decoder->memory_bytes(), kTestMemoryLimit);
  std::copy(history.begin(), history.end(), decoder->Restore(mark).begin());
  half.assign(half.size(), 0);
  ASSERT_TRUE(Decode(*decoder, file, half));
  EXPECT_TRUE(half == builder_.plain().substr(kBlock / 2));
  EXPECT_EQ(decoder->TakeVerdict(), DecoderVerdict::kNotAsked);
}

TEST_F(DecoderFallbackTest, DecodingIntoTheWholeBlockInStepsGivesTheSame) {
  for (const uint64_t wrong : {builder_.block_offsets()[0] + 13, builder_.block_ends()[0] - 10}) {
    const FlakyFile file(builder_, wrong);
    const auto decoder = Open(file);
    std::string out(kBlock, 0);
    const auto whole = std::as_writable_bytes(std::span(out));
    for (size_t end = 0; end < kBlock;) {
      end = std::min<size_t>(kBlock, end + 32'768);
      ASSERT_TRUE(decoder->DecodeInto(file, whole, end)) << wrong;
      EXPECT_EQ(decoder->position(), end);
    }
    EXPECT_EQ(decoder->TakeVerdict(), DecoderVerdict::kRescued);
    EXPECT_TRUE(out == builder_.plain());
  }
}

TEST_F(DecoderFallbackTest, AnErrorOfTheSourceIsNoDamage) {
  XzBuilder noise;  // more than one read has room for
  noise.AddStream(SomeNoise(kBlock), kBlock);
  MemFile file(noise.bytes());
  const auto decoder = Open(file);
  file.FailAfter(0, ESTALE);
  std::string out(kBlock, 0);
  EXPECT_FALSE(Decode(*decoder, file, out));
  EXPECT_EQ(file.accesses().size(), 1u) << "it is not read again";
  EXPECT_EQ(decoder->TakeVerdict(), DecoderVerdict::kNotAsked);
}

}  // namespace
}  // namespace xzfs
