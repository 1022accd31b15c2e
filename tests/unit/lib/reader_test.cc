#include "xzfs/reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lib/read_cache.h"
#include "support/mem_file.h"
#include "support/temp_dir.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

constexpr size_t kKiB = 1024;

const std::string kPlain = SomeText(1500 * kKiB + 17);

// A cache of its own, or the one that is given.
template <class... Cache>
std::shared_ptr<const Reader> MustOpen(std::string stored, const Cache&... cache) {
  auto reader = Reader::Open(std::make_shared<MemFile>(std::move(stored)), "test", cache...);
  EXPECT_TRUE(reader) << (reader ? "" : reader.error().message);
  return reader ? std::make_shared<const Reader>(*std::move(reader)) : nullptr;
}

ReadCache OneThread() { return ReadCache::Create({.threads = 1}).value(); }

std::string Text(const Reader& reader, uint64_t offset, uint64_t length) {
  const Result<Bytes> bytes = reader.Read(offset, length);
  EXPECT_TRUE(bytes) << (bytes ? "" : bytes.error().message);
  return bytes ? std::string(TextOf(*bytes)) : "";
}

TEST(Reader, KnowsItsFile) {
  const std::string stored = MakeXz(kPlain, 64 * kKiB, kCheckSha256);
  const auto reader = MustOpen(stored);
  EXPECT_EQ(reader->size(), kPlain.size());
  EXPECT_EQ(reader->compressed_size(), stored.size());
  EXPECT_EQ(reader->index().format(), Format::kXz);
  EXPECT_EQ(reader->index().block_count(), 24U);
  EXPECT_EQ(reader->index().Block(3).plain_offset, 3 * 64 * kKiB);
  EXPECT_EQ(reader->index().Checks(), std::vector<Check>{kCheckSha256});
}

TEST(Reader, AnyRangeIsRightFromAnyThread) {
  const ReadCache cache = ReadCache::Create({.memory_bytes = 16 << 20, .threads = 3}).value();
  const auto reader = MustOpen(MakeXz(kPlain, 64 * kKiB), cache);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (uint32_t seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 50; ++i) {
        const size_t offset = random() % kPlain.size();
        const size_t length = random() % (500 * kKiB);
        const auto bytes = reader->Read(offset, length);
        wrong += bytes && TextOf(*bytes) == std::string_view(kPlain).substr(offset, length) ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Reader, DecodesOnlyTouchedBlocksAndThoseOnce) {
  const ReadCache cache = OneThread();
  const auto reader = MustOpen(MakeXz(kPlain, 64 * kKiB), cache);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Text(*reader, 700 * kKiB, 10), kPlain.substr(700 * kKiB, 10));
  }
  EXPECT_EQ(ReadCacheInside::EngineOf(cache).stats.decoded_bytes.Get(), 64 * kKiB);
}

TEST(Reader, NothingIsReadBeyondTheEnd) {
  const auto reader = MustOpen(MakeXz(kPlain, 64 * kKiB));
  EXPECT_EQ(Text(*reader, kPlain.size() - 5, 100), kPlain.substr(kPlain.size() - 5));
  EXPECT_EQ(Text(*reader, kPlain.size(), 100), "");
  EXPECT_EQ(Text(*reader, UINT64_MAX, UINT64_MAX), "");
  EXPECT_EQ(Text(*reader, 0, UINT64_MAX), kPlain);
}

TEST(Reader, LegacyFormatsAndManyStreamsRead) {
  EXPECT_EQ(Text(*MustOpen(MakeLzmaAlone("alone", true)), 0, 10), "alone");
  EXPECT_EQ(Text(*MustOpen(MakeLzipMember("one") + MakeLzipMember("two")), 1, 10), "netwo");
  XzBuilder builder;
  builder.AddStream("one", 2, kCheckCrc32).AddPadding(8).AddStream("two", 2, kCheckSha256);
  EXPECT_EQ(Text(*MustOpen(builder.bytes()), 0, 10), "onetwo");
}

TEST(Reader, AFileThatIsNotCompressedIsEio) {
  for (const std::string& stored : {std::string("this is a text"), std::string()}) {
    const auto reader = Reader::Open(std::make_shared<MemFile>(stored), "a.txt");
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code, EIO);
    EXPECT_NE(reader.error().message.find("a.txt"), std::string::npos);
  }
  const std::string stored = MakeXz(kPlain, 64 * kKiB);
  const auto cut =
      Reader::Open(std::make_shared<MemFile>(stored.substr(0, stored.size() - 4)), "cut.xz");
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, EIO);
  EXPECT_NE(cut.error().message.find("cut.xz"), std::string::npos);
}

TEST(Reader, ADamagedBlockFailsOnlyReadsThatTouchIt) {
  XzBuilder builder;
  builder.AddStream(kPlain, 256 * kKiB);
  std::string stored = builder.bytes();
  stored[builder.block_offsets()[2] + 100] ^= 1;
  const auto reader = MustOpen(stored);
  const auto touching = reader->Read(0, kPlain.size());
  ASSERT_FALSE(touching);
  EXPECT_EQ(touching.error().code, EIO);
  EXPECT_EQ(Text(*reader, 0, 512 * kKiB), kPlain.substr(0, 512 * kKiB));
  EXPECT_EQ(Text(*reader, 768 * kKiB, 512 * kKiB), kPlain.substr(768 * kKiB, 512 * kKiB));
}

TEST(Reader, AFileThatChangesIsEstale) {
  const TempDir dir;
  dir.Write("a.xz", MakeXz(kPlain, 64 * kKiB));
  const auto reader = Reader::Open(dir / "a.xz");
  ASSERT_TRUE(reader);
  EXPECT_EQ(Text(*reader, 5, 5), kPlain.substr(5, 5));
  ASSERT_EQ(truncate((dir / "a.xz").c_str(), 100), 0);
  const auto late = reader->Read(1000 * kKiB, 5);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ESTALE);
}

TEST(Reader, ADescriptorIsDuplicatedAndItsPositionStays) {
  const TempDir dir;
  dir.Write("a.xz", MakeXz(kPlain, 64 * kKiB));
  const int fd = open((dir / "a.xz").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(lseek(fd, 7, SEEK_SET), 7);
  ASSERT_EQ(unlink((dir / "a.xz").c_str()), 0);  // it needs no name
  const auto reader = Reader::OpenDescriptor(fd, "a.xz", OneThread());
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(Text(*reader, 1000 * kKiB, 5), kPlain.substr(1000 * kKiB, 5));
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 7);
  ASSERT_EQ(close(fd), 0);
  EXPECT_EQ(Text(*reader, 5, 5), kPlain.substr(5, 5));
}

TEST(Reader, ADescriptorOfNoRegularFileIsAnError) {
  EXPECT_EQ(Reader::OpenDescriptor(-1, "it", OneThread()).error().code, EBADF);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Error error = Reader::OpenDescriptor(ends[0], "it", OneThread()).error();
  EXPECT_EQ(error.code, EINVAL);
  EXPECT_EQ(error.message, "it is not a regular file: Invalid argument");
  close(ends[0]);
  close(ends[1]);
}

TEST(Reader, AMissingFileADirectoryAndADeviceAreErrors) {
  const TempDir dir;
  EXPECT_EQ(Reader::Open(dir / "none.xz").error().code, ENOENT);
  EXPECT_EQ(Reader::Open(dir.path()).error().code, EISDIR);
  EXPECT_EQ(Reader::Open("/dev/null").error().code, EINVAL);
}

// A file of a caller's own kind, with the decoded bytes of `reader`.
class ViewOf : public RandomAccessFile {
 public:
  explicit ViewOf(std::shared_ptr<const Reader> reader) : reader_(std::move(reader)) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    return reader_->ReadAt(offset, out);
  }
  uint64_t size() const override { return reader_->size(); }

 private:
  const std::shared_ptr<const Reader> reader_;
};

TEST(Reader, ReadsFromAReaderThatHasAnotherCache) {
  const std::string twice = MakeXz(MakeXz(kPlain, 64 * kKiB), 64 * kKiB);
  const std::shared_ptr<const Reader> inner = MustOpen(twice, OneThread());
  const auto outer = Reader::Open(inner, "outer", OneThread());
  ASSERT_TRUE(outer);
  EXPECT_EQ(Text(*outer, 0, kPlain.size()), kPlain);
}

// A decoder of the outer Reader would wait for one of the inner Reader, and that one for the outer.
TEST(Reader, ReadingFromAReaderOfTheSameCacheIsEinval) {
  const ReadCache cache = OneThread();
  const std::string twice = MakeXz(MakeXz(kPlain, 64 * kKiB), 64 * kKiB);
  const std::shared_ptr<const Reader> inner = MustOpen(twice, cache);
  for (const std::shared_ptr<const RandomAccessFile>& stored :
       std::vector<std::shared_ptr<const RandomAccessFile>>{inner,
                                                            std::make_shared<ViewOf>(inner)}) {
    const auto outer = Reader::Open(stored, "outer", cache);
    const auto read = outer ? outer->Read(0, outer->size()) : Failure(outer.error());
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, EINVAL);
    EXPECT_NE(read.error().message.find("ReadCache"), std::string::npos);
  }
  // With a Reader of another cache in between.
  const std::string thrice = MakeXz(twice, 64 * kKiB);
  const std::shared_ptr<const Reader> first = MustOpen(thrice, cache);
  auto second = Reader::Open(first, "second", OneThread());
  ASSERT_TRUE(second);
  const auto between = std::make_shared<const Reader>(*std::move(second));
  const auto third = Reader::Open(between, "third", cache);
  EXPECT_EQ(third ? 0 : third.error().code, EINVAL);
  EXPECT_EQ(Text(*inner, 0, 5), Text(*between, 0, 5)) << "nothing is held for ever";
}

// A Block whose decoder takes twice the memory of a cache, and more than the presets of xz do.
std::string LargeDictionary(const std::string& plain) {
  const XzBuilder::Block how{.header_filters = "lzma2:preset=0,dict=144MiB",
                             .recorded_plain_size = 160 * kKiB * kKiB};
  return XzBuilder().BeginStream().AddBlock(plain, how).EndStream().bytes();
}

TEST(Reader, ADecoderMayTakeMoreThanTheCache) {
  const std::string plain = SomeText(2000 * kKiB);
  const auto reader = MustOpen(LargeDictionary(plain));
  EXPECT_EQ(Text(*reader, 1000, 1000), plain.substr(1000, 1000));
}

TEST(Reader, ADecoderThatExceedsTheMemoryLimitIsEfbig) {
  const auto code_of = [](const std::string& stored, uint64_t limit) {
    const ReadCache cache = ReadCache::Create({.memory_limit_bytes = limit}).value();
    const auto reader = Reader::Open(std::make_shared<MemFile>(stored), "a.xz", cache);
    const auto read = reader ? reader->Read(0, 100) : Failure(reader.error());
    if (!read) {
      EXPECT_NE(read.error().message.find("limit"), std::string::npos) << read.error().message;
      return read.error().code;
    }
    return 0;
  };
  const std::string dictionary = LargeDictionary(SomeText(2000 * kKiB));
  EXPECT_EQ(code_of(dictionary, uint64_t{150} << 20), EFBIG);
  EXPECT_EQ(code_of(dictionary, uint64_t{170} << 20), 0);
  const std::string index = MakeXz(kPlain, 100);
  EXPECT_EQ(code_of(index, 300 * kKiB), EFBIG);
  EXPECT_EQ(code_of(index, 1000 * kKiB), 0);
  const std::string alone = MakeLzmaAlone(kPlain, false);
  EXPECT_EQ(code_of(alone, 50 * kKiB), EFBIG);
  EXPECT_EQ(code_of(alone, 1000 * kKiB), 0);
}

TEST(Reader, AMovedReaderReads) {
  Reader first = *Reader::Open(std::make_shared<MemFile>(MakeXz("first", 10)), "first");
  Reader second = *Reader::Open(std::make_shared<MemFile>(MakeXz("second", 10)), "second");
  second = std::move(first);
  EXPECT_EQ(Text(second, 0, 10), "first");
}

TEST(Reader, ErrorsSayOfWhatKindTheyAre) {
  const auto no_file = Reader::Open("/none.xz");
  EXPECT_EQ(no_file.error().kind, ErrorKind::kSystem);
  const auto text = Reader::Open(std::make_shared<MemFile>("this is a text"), "a.txt");
  EXPECT_EQ(text.error().kind, ErrorKind::kDamaged);
  const auto index = Reader::Open(std::make_shared<MemFile>(MakeXz(kPlain, 100)), "a.xz",
                                  ReadCacheOptions{.memory_limit_bytes = 300 * kKiB});
  EXPECT_EQ(index.error().kind, ErrorKind::kOverLimit);
}

TEST(Reader, TheIndexOfAnyFormatIsRead) {
  for (const auto& [stored, format] : {std::pair(MakeXz("text", 10), Format::kXz),
                                       std::pair(MakeLzmaAlone("text", true), Format::kLzmaAlone),
                                       std::pair(MakeLzipMember("text"), Format::kLzip)}) {
    const auto index = BlockIndex::Read(MemFile(stored));
    ASSERT_TRUE(index);
    EXPECT_EQ(index->format(), format);
    EXPECT_EQ(index->plain_size(), 4U);
  }
  EXPECT_EQ(BlockIndex::Read(MemFile("text")).error().kind, ErrorKind::kDamaged);
  EXPECT_EQ(BlockIndex::Read(MemFile("text"), Format::kRaw).error().kind, ErrorKind::kInvalid);
}

TEST(Reader, GiantBlocksReadInSlices) {
  const std::string plain = SomeText(5000 * kKiB);
  const ReadCache cache = ReadCache::Create({.whole_block_bytes = 1 << 20}).value();
  const auto reader = MustOpen(MakeXz(plain, plain.size()), cache);
  EXPECT_EQ(Text(*reader, 3000 * kKiB, 2000 * kKiB), plain.substr(3000 * kKiB, 2000 * kKiB));
  EXPECT_EQ(Text(*reader, 10, 3000 * kKiB), plain.substr(10, 3000 * kKiB));
}

}  // namespace
}  // namespace xzfs
