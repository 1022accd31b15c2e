#include "xzfs/input_stream.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <sstream>
#include <string>

#include "support/mem_file.h"
#include "support/xz_builder.h"
#include "xzfs/reader.h"

namespace xzfs {
namespace {

const std::string kPlain = SomeText(500000) + "\nlast line without an end";

std::shared_ptr<const RandomAccessFile> Compressed() {
  return std::make_shared<Reader>(
      *Reader::Open(std::make_shared<MemFile>(MakeXz(kPlain, 65536)), "test"));
}

TEST(InputStream, LinesAreThoseOfTheText) {
  InputStream got(Compressed());
  std::istringstream want(kPlain);
  std::string got_line;
  std::string want_line;
  size_t count = 0;
  while (std::getline(want, want_line)) {
    ASSERT_TRUE(std::getline(got, got_line));
    ASSERT_EQ(got_line, want_line);
    ++count;
  }
  EXPECT_FALSE(std::getline(got, got_line));
  EXPECT_TRUE(got.eof());
  EXPECT_FALSE(got.bad());
  EXPECT_FALSE(got.error());
  EXPECT_GT(count, 1U);
}

TEST(InputStream, SeeksAsAStringStreamDoes) {
  InputStream got(Compressed());
  std::istringstream want(kPlain);
  const auto same = [&](std::streamoff offset, std::ios_base::seekdir from) {
    std::string a(1000, ' ');
    std::string b(1000, ' ');
    got.clear();
    want.clear();
    got.seekg(offset, from).read(a.data(), 1000);
    want.seekg(offset, from).read(b.data(), 1000);
    EXPECT_EQ(got.gcount(), want.gcount());
    EXPECT_EQ(a, b);
    got.clear();
    want.clear();
    EXPECT_EQ(got.tellg(), want.tellg());
  };
  same(400000, std::ios_base::beg);
  same(-2000, std::ios_base::cur);
  same(200000, std::ios_base::beg);
  same(-10, std::ios_base::end);
  same(0, std::ios_base::beg);
  got.seekg(-1, std::ios_base::beg);
  EXPECT_TRUE(got.fail());
}

TEST(InputStream, TakesAReader) {
  InputStream stream(*Reader::Open(std::make_shared<MemFile>(MakeXz(kPlain, 65536)), "test"));
  std::string all(kPlain.size(), ' ');
  stream.read(all.data(), static_cast<std::streamsize>(all.size()));
  EXPECT_EQ(all, kPlain);
}

TEST(InputStream, AnErrorSetsBadbitAndSaysWhy) {
  const auto file = std::make_shared<MemFile>(kPlain);
  file->FailAfter(1, EIO);
  InputStream stream(file);
  std::string all(kPlain.size(), ' ');
  stream.read(all.data(), static_cast<std::streamsize>(all.size()));
  EXPECT_LT(static_cast<size_t>(stream.gcount()), kPlain.size());
  EXPECT_TRUE(stream.bad());
  ASSERT_TRUE(stream.error());
  EXPECT_EQ(stream.error()->code, EIO);
}

}  // namespace
}  // namespace xzfs
