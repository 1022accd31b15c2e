// The decoder test files decode to what `xz -dc` writes.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "decode_util.h"
#include "support/corpora.h"
#include "support/mem_file.h"
#include "xz/format.h"

namespace xzfs {
namespace {

namespace fs = std::filesystem;

struct XzRun {
  std::string plain;
  int exit_code = -1;
};

XzRun RunXz(const fs::path& path) {
  const std::string command = "xz -dc <'" + path.string() + "' 2>/dev/null";
  XzRun run;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) {
    return run;
  }
  std::array<char, 65536> buffer;
  while (const size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
    run.plain.append(buffer.data(), got);
  }
  run.exit_code = WEXITSTATUS(pclose(pipe));
  return run;
}

std::string ReadFile(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

Format FormatOf(const fs::path& path) {
  if (path.extension() == ".lzma") {
    return Format::kLzmaAlone;
  }
  return path.extension() == ".lz" ? Format::kLzip : Format::kXz;
}

class CorpusTest : public testing::TestWithParam<fs::path> {
 protected:
  static std::vector<fs::path> Files(const std::string& prefix) {
    std::vector<fs::path> matching;
    for (const fs::directory_entry& entry : fs::directory_iterator(GetParam())) {
      const std::string extension = entry.path().extension().string();
      const bool is_one = extension == ".xz" || extension == ".lzma" || extension == ".lz";
      if (is_one && entry.path().filename().string().starts_with(prefix)) {
        matching.push_back(entry.path());
      }
    }
    return matching;
  }
};

INSTANTIATE_TEST_SUITE_P(Corpora, CorpusTest, testing::ValuesIn(Corpora()),
                         [](const auto& info) { return "Folder" + std::to_string(info.index); });

TEST_P(CorpusTest, GoodFilesGiveTheSameBytesAsXz) {
  const std::vector<fs::path> files = Files("good-");
  EXPECT_GE(files.size(), 22u);
  for (const fs::path& path : files) {
    const XzRun xz = RunXz(path);
    ASSERT_EQ(xz.exit_code, 0) << path;
    const MemFile file(ReadFile(path));
    const Result<BlockIndex> index = ReadIndex(file, FormatOf(path));
    ASSERT_TRUE(index) << path << index.error().message;
    EXPECT_EQ(index->plain_size(), xz.plain.size()) << path;
    std::mt19937 random(3);
    const Result<std::string> decoded = DecodeAll(file, *index, &random);
    ASSERT_TRUE(decoded) << path << decoded.error().message;
    EXPECT_TRUE(*decoded == xz.plain) << path;
  }
}

TEST_P(CorpusTest, BadFilesNeverReadWholeAndNeverGiveOtherBytes) {
  const std::vector<fs::path> files = Files("bad-");
  EXPECT_GE(files.size(), 44u);
  std::string good_output;
  for (const fs::path& path : Files("good-")) {
    good_output += RunXz(path).plain;
  }
  size_t with_index = 0;
  for (const fs::path& path : files) {
    const XzRun xz = RunXz(path);
    ASSERT_NE(xz.exit_code, 0) << path;
    const MemFile file(ReadFile(path));
    const Result<BlockIndex> index = ReadIndex(file, FormatOf(path));
    if (!index) {
      continue;
    }
    ++with_index;
    size_t refused = 0;
    for (uint64_t number = 0; number < index->block_count(); ++number) {
      const Result<std::string> decoded = DecodeBlock(file, *index, number);
      refused += !decoded;
      // The bad files were made from good ones; xz may stop before the Blocks that are good.
      EXPECT_TRUE(!decoded || good_output.find(*decoded) != std::string::npos) << path;
    }
    EXPECT_GT(refused, 0u) << path;
  }
  EXPECT_GE(with_index, 25u) << "damage that only decoding finds";
}

TEST_P(CorpusTest, UnsupportedFilesAreRefusedOrReadAsXzDoes) {
  const std::vector<fs::path> files = Files("unsupported-");
  EXPECT_GE(files.size(), 5u);
  size_t read = 0;
  for (const fs::path& path : files) {
    const XzRun xz = RunXz(path);
    const MemFile file(ReadFile(path));
    const Result<BlockIndex> index = ReadIndex(file, FormatOf(path));
    const Result<std::string> decoded = index ? DecodeAll(file, *index) : Failure<>(index.error());
    // xz ends with 2 when it only warns, as for a Check that it can't verify.
    EXPECT_EQ(decoded.has_value(), xz.exit_code == 0 || xz.exit_code == 2) << path;
    if (decoded) {
      ++read;
      EXPECT_TRUE(*decoded == xz.plain) << path;
    } else {
      EXPECT_EQ(decoded.error().code, EIO) << path;
    }
  }
  EXPECT_EQ(read, 1u) << "unsupported-check.xz";
}

}  // namespace
}  // namespace xzfs
