#include "xz/format.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "support/xz_builder.h"
#include "xz/block_decoder.h"
#include "xz/lzma_util.h"

namespace xzfs {
namespace {

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(FormatTest, KnowsEachFormatByItsBeginning) {
  const std::string xz = MakeXz("hello", 5);
  const std::string lzma = MakeLzmaAlone("hello", true);
  const std::string lz = MakeLzipMember("hello");
  EXPECT_TRUE(HasXzMagic(Bytes(xz)));
  EXPECT_FALSE(HasXzMagic(Bytes(lzma)));
  EXPECT_FALSE(HasXzMagic(Bytes(lz)));
  EXPECT_TRUE(HasLzipMagic(Bytes(lz)));
  EXPECT_FALSE(HasLzipMagic(Bytes(xz)));
  EXPECT_TRUE(LooksLikeLzmaAlone(Bytes(lzma)));
  EXPECT_TRUE(LooksLikeLzmaAlone(Bytes(MakeLzmaAlone("hello", false))));
  EXPECT_FALSE(LooksLikeLzmaAlone(Bytes(xz)));
  EXPECT_FALSE(LooksLikeLzmaAlone(Bytes(lz)));
}

TEST(FormatTest, AFileShorterThanTheMagicHasNone) {
  for (size_t size = 0; size < 6; ++size) {
    EXPECT_FALSE(HasXzMagic(Bytes(MakeXz("a", 1).substr(0, size)))) << size;
  }
  for (size_t size = 0; size < 4; ++size) {
    EXPECT_FALSE(HasLzipMagic(Bytes(MakeLzipMember("a").substr(0, size)))) << size;
  }
  for (size_t size = 0; size < kFormatProbeBytes; ++size) {
    EXPECT_FALSE(LooksLikeLzmaAlone(Bytes(MakeLzmaAlone("a", true).substr(0, size)))) << size;
  }
}

std::string LzmaHeader(uint8_t properties, uint32_t dict, uint64_t plain_size) {
  std::string head(1, static_cast<char>(properties));
  for (int i = 0; i < 4; ++i) {
    head.push_back(static_cast<char>(dict >> (8 * i)));
  }
  for (int i = 0; i < 8; ++i) {
    head.push_back(static_cast<char>(plain_size >> (8 * i)));
  }
  return head;
}

TEST(FormatTest, LzmaHeadersAreJudgedAsXzDoes) {
  const auto looks = [](uint8_t properties, uint32_t dict, uint64_t plain_size) {
    return LooksLikeLzmaAlone(Bytes(LzmaHeader(properties, dict, plain_size)));
  };
  EXPECT_TRUE(looks(93, 1 << 16, 5));
  EXPECT_TRUE(looks(93, 3 << 16, 5));
  EXPECT_TRUE(looks(93, 1, 5));
  EXPECT_TRUE(looks(93, UINT32_MAX, UINT64_MAX));
  EXPECT_TRUE(looks(224 - 8, 1 << 16, (uint64_t{256} << 30) - 1));
  EXPECT_FALSE(looks(225, 1 << 16, 5)) << "properties that no encoder writes";
  EXPECT_FALSE(looks(8 + 9, 1 << 16, 5)) << "lc + lp = 9";
  EXPECT_FALSE(looks(93, 0, 5));
  EXPECT_FALSE(looks(93, 5 << 16, 5)) << "not 2^n or 2^n + 2^(n-1)";
  EXPECT_FALSE(looks(93, 1 << 16, uint64_t{256} << 30));
}

TEST(CheckTest, NamesAreThoseOfXz) {
  EXPECT_EQ(CheckName(Check{0}), "None");
  EXPECT_EQ(CheckName(Check{1}), "CRC32");
  EXPECT_EQ(CheckName(Check{4}), "CRC64");
  EXPECT_EQ(CheckName(Check{5}), "Unknown-5");
  EXPECT_EQ(CheckName(Check{10}), "SHA-256");
  EXPECT_EQ(CheckName(Check{15}), "Unknown-15");
}

TEST(CheckTest, ReservedChecksAreNotSupported) {
  EXPECT_TRUE(IsCheckSupported(Check{0}));
  EXPECT_TRUE(IsCheckSupported(Check{1}));
  EXPECT_TRUE(IsCheckSupported(Check{4}));
  EXPECT_TRUE(IsCheckSupported(Check{10}));
  EXPECT_FALSE(IsCheckSupported(Check{2}));
  EXPECT_FALSE(IsCheckSupported(Check{15}));
  EXPECT_FALSE(IsCheckSupported(Check{200}));
}

TEST(RequireLiblzmaTest, TakesWhatTheProgramRunsWith) { EXPECT_TRUE(RequireLiblzma()); }

TEST(RequireLiblzmaTest, RefusesOldAndBackdooredReleasesAndSaysWhatToInstall) {
  for (const uint32_t version : {50020052u, 50040002u, 50040010u, 50060002u, 50060012u}) {
    const Status status = CheckLiblzmaVersion(version);
    ASSERT_FALSE(status) << version;
    EXPECT_EQ(status.error().code, ENOTSUP);
    EXPECT_NE(status.error().message.find("install"), std::string::npos);
  }
  EXPECT_NE(CheckLiblzmaVersion(50020052).error().message.find("5.2.5 is too old"),
            std::string::npos);
  for (const uint32_t version : {50040012u, 50040062u, 50060022u, 50080012u}) {
    EXPECT_TRUE(CheckLiblzmaVersion(version)) << version;
  }
}

}  // namespace
}  // namespace xzfs
