#include "xzfs/writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/temp_dir.h"
#include "support/xz_builder.h"
#include "xzfs/byte_string.h"
#include "xzfs/files.h"
#include "xzfs/output_stream.h"
#include "xzfs/reader.h"

namespace xzfs {
namespace {

namespace fs = std::filesystem;

constexpr size_t kKiB = 1024;

const std::string kPlain = SomeText(700 * kKiB + 3);
const WriterOptions kSmallBlocks{.preset = 1, .block_bytes = 64 * kKiB, .threads = 3};

class WriterTest : public testing::Test {
 protected:
  // The bytes that another program decodes, and its exit status.
  std::string Xz(const std::string& path) {
    const std::string out = dir_ / "decoded";
    EXPECT_EQ(system(("xz -dc '" + path + "' >'" + out + "'").c_str()), 0);
    return Plain(out);
  }
  static std::string Plain(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // The names in the folder.
  size_t Count() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(dir_.path()), {}));
  }
  void Append(const std::string& path, std::string_view text, const WriterOptions& options) {
    auto writer = Writer::Append(path, options);
    ASSERT_TRUE(writer) << writer.error().message;
    ASSERT_TRUE(writer->Write(BytesOf(text)));
    const Status closed = writer->Close();
    ASSERT_TRUE(closed) << closed.error().message;
  }
  static BlockIndex IndexOf(const std::string& path) { return Reader::Open(path)->index(); }

  TempDir dir_;
};

TEST_F(WriterTest, PiecesBecomeOneFileOfBlocks) {
  const std::string path = dir_ / "a.xz";
  auto writer = Writer::Create(path, kSmallBlocks);
  ASSERT_TRUE(writer);
  for (size_t at = 0; at < kPlain.size(); at += 12345) {
    ASSERT_TRUE(writer->Write(BytesOf(std::string_view(kPlain).substr(at, 12345))));
  }
  EXPECT_EQ(writer->plain_size(), kPlain.size());
  EXPECT_FALSE(fs::exists(path));
  ASSERT_TRUE(writer->Close());
  EXPECT_EQ(Xz(path), kPlain);
  const BlockIndex index = IndexOf(path);
  EXPECT_EQ(index.block_count(), 11U);
  EXPECT_EQ(index.stream_count(), 1U);
  EXPECT_EQ(index.largest_block(), 64 * kKiB);
  EXPECT_EQ(writer->Close().error().code, EINVAL);
  EXPECT_EQ(writer->Write(BytesOf("x")).error().code, EINVAL);
}

TEST_F(WriterTest, EndBlockBeginsABlock) {
  const std::string path = dir_ / "a.xz";
  auto writer = Writer::Create(path, {.check = Check::kSha256});
  for (const char* record : {"first", "second", ""}) {
    ASSERT_TRUE(writer->Write(BytesOf(record)));
    ASSERT_TRUE(writer->EndBlock());
  }
  ASSERT_TRUE(writer->Close());
  const BlockIndex index = IndexOf(path);
  ASSERT_EQ(index.block_count(), 2U);
  EXPECT_EQ(index.Block(1).plain_offset, 5U);
  EXPECT_EQ(index.Block(1).check, Check::kSha256);
  EXPECT_EQ(Xz(path), "firstsecond");
}

TEST_F(WriterTest, NoInputBecomesAnEmptyFile) {
  const std::string path = dir_ / "empty.xz";
  ASSERT_TRUE(Writer::Create(path)->Close());
  EXPECT_EQ(Xz(path), "");
  EXPECT_GT(fs::file_size(path), 0U);
}

TEST_F(WriterTest, WithoutCloseNothingChanges) {
  dir_.Write("a.xz", "old");
  {
    auto writer = Writer::Create(dir_ / "a.xz", kSmallBlocks);
    ASSERT_TRUE(writer->Write(BytesOf(kPlain)));
    EXPECT_EQ(Count(), 2U);
  }
  EXPECT_EQ(Count(), 1U);
  EXPECT_EQ(Plain(dir_ / "a.xz"), "old");
}

TEST_F(WriterTest, AReplacedFileKeepsItsModeAndSymlinksAreFollowed) {
  dir_.Write("a.xz", "old");
  ASSERT_EQ(chmod((dir_ / "a.xz").c_str(), 0640), 0);
  fs::create_symlink("a.xz", dir_ / "link");
  ASSERT_TRUE(WriteFile(dir_ / "link", BytesOf("new")));
  EXPECT_TRUE(fs::is_symlink(dir_ / "link"));
  EXPECT_EQ(Xz(dir_ / "a.xz"), "new");
  struct stat st = {};
  ASSERT_EQ(stat((dir_ / "a.xz").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640U);
}

TEST_F(WriterTest, AppendingCopiesBlocksAndFillsTheLast) {
  const std::string path = dir_ / "a.xz";
  ASSERT_TRUE(WriteFile(path, BytesOf(kPlain), kSmallBlocks));
  const std::string before = Plain(path);
  Append(path, "and more", kSmallBlocks);
  EXPECT_EQ(Xz(path), kPlain + "and more");
  const BlockIndex index = IndexOf(path);
  EXPECT_EQ(index.block_count(), 11U);
  EXPECT_EQ(index.stream_count(), 1U);
  // Up to the last Block the stored bytes are the same as before.
  const uint64_t kept = index.Block(10).compressed_offset;
  EXPECT_EQ(Plain(path).substr(0, kept), before.substr(0, kept));
}

TEST_F(WriterTest, AppendingManyTimesMakesNoSmallBlocks) {
  const std::string path = dir_ / "log.xz";
  std::string want;
  for (int i = 0; i < 30; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    Append(path, line, {.threads = 1, .sync = false});
    want += line;
  }
  EXPECT_EQ(Xz(path), want);
  EXPECT_EQ(IndexOf(path).block_count(), 1U);
}

TEST_F(WriterTest, AppendingKeepsTheCheckUnlessOneIsNamed) {
  const std::string path = dir_ / "a.xz";
  dir_.Write("a.xz", MakeXz(kPlain, 100 * kKiB, kCheckSha256));
  Append(path, "1", kSmallBlocks);
  EXPECT_EQ(IndexOf(path).Checks(), std::vector<Check>{kCheckSha256});
  WriterOptions crc32 = kSmallBlocks;
  crc32.check = Check::kCrc32;
  Append(path, "2", crc32);
  EXPECT_EQ(IndexOf(path).Checks(), std::vector<Check>{kCheckCrc32});
  EXPECT_EQ(Xz(path), kPlain + "12");
}

TEST_F(WriterTest, AppendingKeepsStreamsWithSeveralChecks) {
  XzBuilder builder;
  builder.AddStream("one", 2, kCheckCrc32).AddPadding(8).AddStream("two", 2, kCheckCrc64);
  dir_.Write("a.xz", builder.bytes());
  Append(dir_ / "a.xz", "three", kSmallBlocks);
  EXPECT_EQ(Xz(dir_ / "a.xz"), "onetwothree");
  EXPECT_EQ(IndexOf(dir_ / "a.xz").stream_count(), 1U);
}

TEST_F(WriterTest, AppendingLeavesAFileThatIsDamagedOrNoXzFile) {
  dir_.Write("text.xz", "this is a text");
  dir_.Write("a.lzma", MakeLzmaAlone("alone", true));
  std::string damaged = MakeXz("text", 10);
  damaged[damaged.size() - 1] ^= 1;
  dir_.Write("damaged.xz", damaged);
  for (const char* name : {"text.xz", "a.lzma", "damaged.xz"}) {
    const auto writer = Writer::Append(dir_ / name);
    ASSERT_FALSE(writer) << name;
    EXPECT_EQ(writer.error().code, EIO);
  }
  EXPECT_EQ(Plain(dir_ / "damaged.xz"), damaged);
  EXPECT_EQ(Count(), 3U);
}

TEST_F(WriterTest, TwoWritersCanNotAppendAtOnce) {
  const std::string path = dir_ / "a.xz";
  ASSERT_TRUE(WriteFile(path, BytesOf("text")));
  auto first = Writer::Append(path);
  ASSERT_TRUE(first);
  const auto second = Writer::Append(path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EBUSY);
}

TEST_F(WriterTest, IfTwoWritersAppendToAMissingFileTheFirstToCloseWins) {
  const std::string path = dir_ / "a.xz";
  auto first = Writer::Append(path);
  auto second = Writer::Append(path);
  ASSERT_TRUE(first && second);
  ASSERT_TRUE(first->Write(BytesOf("first")));
  ASSERT_TRUE(second->Write(BytesOf("second")));
  ASSERT_TRUE(second->Close());
  EXPECT_EQ(first->Close().error().code, ESTALE);
  EXPECT_EQ(Xz(path), "second");
}

TEST_F(WriterTest, TwoWritersCanNotAppendToAnEmptyFileAtOnce) {
  dir_.Write("a.xz", "");
  ASSERT_EQ(chmod((dir_ / "a.xz").c_str(), 0640), 0);
  auto first = Writer::Append(dir_ / "a.xz");
  ASSERT_TRUE(first);
  const auto second = Writer::Append(dir_ / "a.xz");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EBUSY);
  ASSERT_TRUE(first->Write(BytesOf("first")));
  ASSERT_TRUE(first->Close());
  Append(dir_ / "a.xz", " and second", {});
  EXPECT_EQ(Xz(dir_ / "a.xz"), "first and second");
  struct stat st = {};
  ASSERT_EQ(stat((dir_ / "a.xz").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640U);
}

TEST_F(WriterTest, BytesWrittenToAnEmptyFileDuringAnAppendStay) {
  dir_.Write("a.xz", "");
  auto writer = Writer::Append(dir_ / "a.xz");
  ASSERT_TRUE(writer);
  dir_.Write("a.xz", "other");
  EXPECT_EQ(writer->Close().error().code, ESTALE);
  EXPECT_EQ(Plain(dir_ / "a.xz"), "other");
}

TEST_F(WriterTest, AReplacementDuringAnAppendWins) {
  const std::string path = dir_ / "a.xz";
  ASSERT_TRUE(WriteFile(path, BytesOf("text")));
  auto writer = Writer::Append(path);
  ASSERT_TRUE(writer->Write(BytesOf("more")));
  ASSERT_TRUE(WriteFile(path, BytesOf("other")));
  EXPECT_EQ(writer->Close().error().code, ESTALE);
  EXPECT_EQ(Xz(path), "other");
}

TEST_F(WriterTest, ASinkGetsTheSameFile) {
  ASSERT_TRUE(WriteFile(dir_ / "a.xz", kPlain, kSmallBlocks));
  std::string stored;
  auto writer = Writer::Create(
      [&stored](std::span<const std::byte> bytes) -> Status {
        stored += TextOf(bytes);
        return {};
      },
      kSmallBlocks);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->Write(kPlain));
  ASSERT_TRUE(writer->Close());
  EXPECT_TRUE(stored == Plain(dir_ / "a.xz"));
}

TEST_F(WriterTest, AFailureOfASinkStays) {
  size_t room = 1000;
  const Sink sink = [&room](std::span<const std::byte> bytes) -> Status {
    if (bytes.size() > room) {
      return Failure(Error{ErrorKind::kSystem, ENOSPC, "full"});
    }
    room -= bytes.size();
    return {};
  };
  auto writer = Writer::Create(sink, kSmallBlocks);
  ASSERT_TRUE(writer);
  const Status written = writer->Write(kPlain);
  EXPECT_EQ((written ? writer->Close() : written).error().code, ENOSPC);
  EXPECT_EQ(writer->Write("more").error().code, ENOSPC);
}

TEST_F(WriterTest, AnOutputStreamWritesAFile) {
  const std::string path = dir_ / "a.xz";
  {
    OutputStream lines(*Writer::Create(path, kSmallBlocks));
    for (int i = 0; i < 100000; ++i) {
      lines << "line " << i << "\n";
    }
    lines.flush();
    EXPECT_FALSE(fs::exists(path));
    ASSERT_TRUE(lines.Close());
    EXPECT_FALSE(lines.error());
  }
  const std::string plain = Xz(path);
  EXPECT_EQ(plain.size(), 1088890U);
  EXPECT_TRUE(plain.ends_with("line 99999\n"));
}

TEST_F(WriterTest, AnOutputStreamWithoutCloseMakesNothing) {
  { OutputStream(*Writer::Create(dir_ / "a.xz")) << "text"; }
  EXPECT_EQ(Count(), 0U);
}

TEST_F(WriterTest, AnOutputStreamThatCannotWriteIsBadAndSaysWhy) {
  OutputStream stream(*Writer::Create(
      [left = 3](std::span<const std::byte>) mutable -> Status {
        return left-- > 0 ? Status() : Failure(Error{ErrorKind::kSystem, ENOSPC, "full"});
      },
      kSmallBlocks));
  stream << SomeNoise(1 << 20) << std::flush;
  const Status closed = stream.Close();
  ASSERT_FALSE(closed);
  EXPECT_EQ(closed.error().code, ENOSPC);
  EXPECT_TRUE(stream.bad());
  ASSERT_TRUE(stream.error());
  EXPECT_EQ(stream.error()->code, ENOSPC);
}

TEST_F(WriterTest, ProgressCountsPlainBytesAndCanEndACall) {
  dir_.Write("plain", kPlain);
  uint64_t told = 0;
  const Progress all = [&told](uint64_t done_bytes, uint64_t total_bytes) {
    told = done_bytes;
    EXPECT_LE(done_bytes, total_bytes);
    return true;
  };
  const Progress none = [](uint64_t, uint64_t) { return false; };
  ASSERT_TRUE(CompressFile(dir_ / "plain", dir_ / "a.xz", kSmallBlocks, all));
  EXPECT_EQ(std::exchange(told, 0), kPlain.size());
  ASSERT_TRUE(DecompressFile(dir_ / "a.xz", dir_ / "again", {}, all));
  EXPECT_EQ(std::exchange(told, 0), kPlain.size());
  EXPECT_EQ(TextOf(ReadFile(dir_ / "a.xz", {}, all).value()), kPlain);
  EXPECT_EQ(told, kPlain.size());
  EXPECT_EQ(Count(), 3U);
  const std::string before = Plain(dir_ / "a.xz");
  EXPECT_EQ(CompressFile(dir_ / "again", dir_ / "a.xz", {}, none).error().kind,
            ErrorKind::kCancelled);
  EXPECT_EQ(DecompressFile(dir_ / "a.xz", dir_ / "new", {}, none).error().code, ECANCELED);
  EXPECT_EQ(ReadFile(dir_ / "a.xz", {}, none).error().kind, ErrorKind::kCancelled);
  EXPECT_TRUE(Plain(dir_ / "a.xz") == before);
  EXPECT_EQ(Count(), 3U);
}

TEST_F(WriterTest, LimitsHoldForWholeFiles) {
  ASSERT_TRUE(WriteFile(dir_ / "a.xz", kPlain, kSmallBlocks));
  const ReadFileOptions few{.most_plain_bytes = kPlain.size() - 1};
  const ReadFileOptions little{.cache = {.memory_limit_bytes = kKiB}};
  for (const ReadFileOptions& options : {few, little}) {
    EXPECT_EQ(ReadFile(dir_ / "a.xz", options).error().kind, ErrorKind::kOverLimit);
    EXPECT_EQ(DecompressFile(dir_ / "a.xz", dir_ / "plain", options).error().code, EFBIG);
  }
  EXPECT_EQ(Count(), 1U);
  EXPECT_TRUE(ReadFile(dir_ / "a.xz", {.most_plain_bytes = kPlain.size()}));
}

TEST_F(WriterTest, InvalidOptionsAreEinval) {
  const auto code = [&](const WriterOptions& options) {
    return Writer::Create(dir_ / "a.xz", options).error().code;
  };
  EXPECT_EQ(code({.preset = 10}), EINVAL);
  EXPECT_EQ(code({.check = Check{3}}), EINVAL);
  EXPECT_EQ(code({.block_bytes = 100}), EINVAL);
  EXPECT_EQ(Writer::Create("/dev/null").error().code, EINVAL);
  EXPECT_EQ(Writer::Create(dir_ / "none/a.xz").error().code, ENOENT);
  EXPECT_EQ(Count(), 0U);
}

TEST_F(WriterTest, AFullDiskIsAnErrorAndLeavesNothing) {
  // A limit of the size of files stands for the disk.
  struct rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit limit = {64 * kKiB, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Status written = WriteFile(dir_ / "a.xz", BytesOf(SomeNoise(700 * kKiB)));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old_action);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, EFBIG);
  EXPECT_EQ(Count(), 0U);
}

TEST_F(WriterTest, WholeFilesAreRestoredWithModeAndTimes) {
  dir_.Write("plain", kPlain);
  ASSERT_EQ(chmod((dir_ / "plain").c_str(), 0600), 0);
  const struct timespec times[2] = {{1000, 5}, {2000, 7}};
  ASSERT_EQ(utimensat(AT_FDCWD, (dir_ / "plain").c_str(), times, 0), 0);
  ASSERT_TRUE(CompressFile(dir_ / "plain", dir_ / "a.xz", kSmallBlocks));
  EXPECT_EQ(Xz(dir_ / "a.xz"), kPlain);
  ASSERT_TRUE(DecompressFile(dir_ / "a.xz", dir_ / "again"));
  EXPECT_EQ(Plain(dir_ / "again"), kPlain);
  for (const char* name : {"a.xz", "again"}) {
    struct stat st = {};
    ASSERT_EQ(stat((dir_ / name).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600U) << name;
    EXPECT_EQ(st.st_mtim.tv_sec, 2000);
    EXPECT_EQ(st.st_mtim.tv_nsec, 7);
  }
  EXPECT_EQ(TextOf(*ReadFile(dir_ / "a.xz")), kPlain);
}

// The kernel's own files say 0 or a page.
TEST_F(WriterTest, AFileIsCompressedToItsEndWhateverSizeItSays) {
  for (const char* path : {"/proc/version", "/sys/devices/system/cpu/online"}) {
    if (!fs::exists(path)) {
      GTEST_SKIP() << "there is no " << path;
    }
    const std::string content = Plain(path);
    ASSERT_NE(fs::file_size(path), content.size());
    const Status made = CompressFile(path, dir_ / "a.xz");
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(Xz(dir_ / "a.xz"), content);
  }
}

size_t ThreadCount() {
  const fs::directory_iterator tasks("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

TEST_F(WriterTest, ThreadsStartWithTheFirstFullBlock) {
  // A sanitizer starts a thread of its own beside the first one.
  const std::jthread first([](const std::stop_token& end) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any().wait(lock, end, [] { return false; });
  });
  const size_t before = ThreadCount();
  auto writer = Writer::Create(dir_ / "a.xz", kSmallBlocks);
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->Write(kPlain.substr(0, 64 * kKiB - 1)));
  EXPECT_EQ(ThreadCount(), before);
  ASSERT_TRUE(writer->Write(kPlain.substr(64 * kKiB - 1)));
  EXPECT_EQ(ThreadCount(), before + 3);
  ASSERT_TRUE(writer->Close());
  EXPECT_EQ(Xz(dir_ / "a.xz"), kPlain);
}

}  // namespace
}  // namespace xzfs
