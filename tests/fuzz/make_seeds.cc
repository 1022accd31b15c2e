// Writes inputs for the fuzzers into a folder: small files of every kind that tests can build, and
// the decoder test files.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "support/choices.h"
#include "support/corpora.h"
#include "support/lzma2_attack.h"
#include "support/lzma2_maker.h"
#include "support/xz_builder.h"
#include "xzfs/block_index.h"

namespace xzfs {
namespace {

namespace fs = std::filesystem;

// Larger files make a fuzzer slow for nothing.
constexpr size_t kLargestSeed = 20000;

class SeedFolder {
 public:
  explicit SeedFolder(fs::path folder) : folder_(std::move(folder)) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  // Writes the file for the fuzzers; a .xz file also in the form whose CRC32s they make right.
  void Add(const std::string& name, Format format, const std::string& file) {
    const int number = static_cast<int>(format);
    Write(name, number, file);
    if (format == Format::kXz) {
      Write(name + ".fixed", number | 0x80, file);
    }
  }

  // Writes input that is for one fuzzer as it is.
  void AddInput(const std::string& name, std::span<const uint8_t> input) {
    std::ofstream stream(folder_ / name, std::ios::binary);
    stream.write(reinterpret_cast<const char*>(input.data()),
                 static_cast<std::streamsize>(input.size()));
    count_ += stream.good();
  }

  size_t count() const { return count_; }

 private:
  void Write(const std::string& name, int first_byte, const std::string& file) {
    if (file.size() > kLargestSeed) {
      return;
    }
    std::ofstream stream(folder_ / name, std::ios::binary);
    stream.put(static_cast<char>(first_byte)).put(1);
    stream << file;
    count_ += stream.good();
  }

  const fs::path folder_;
  size_t count_ = 0;
};

void AddBuilt(SeedFolder* seeds) {
  const std::string text = SomeText(900);
  int number = 0;
  for (const char* filters :
       {"lzma2:dict=4KiB", "x86 lzma2:dict=4KiB", "delta:dist=3 arm64 lzma2:dict=8KiB"}) {
    for (const Check check : {kCheckNone, kCheckCrc32, kCheckCrc64, kCheckSha256}) {
      XzBuilder::Block how;
      how.filters = filters;
      how.sizes_in_header = static_cast<unsigned>(check) % 2 == 0;
      XzBuilder builder;
      builder.AddStream(text, 400, check, how).AddPadding(4);
      builder.BeginStream(check).EndStream();
      builder.BeginStream(check).AddBlock("").AddBlock("abc", how).EndStream();
      seeds->Add("built-" + std::to_string(number++) + ".xz", Format::kXz, builder.bytes());
    }
  }
  XzBuilder lying;
  lying.BeginStream().AddBlock("abc", {.header_filters = "lzma2:dict=1536MiB"});
  lying.AddBlock(text, {.recorded_plain_size = 1000}).EndStream();
  seeds->Add("built-lying.xz", Format::kXz, lying.bytes());
  XzBuilder claiming;
  claiming.BeginStream().AddBlock("abc").EndStreamClaiming(uint64_t{1} << 40);
  seeds->Add("built-claiming.xz", Format::kXz, claiming.bytes());

  seeds->Add("built-1.lzma", Format::kLzmaAlone, MakeLzmaAlone(text, true));
  seeds->Add("built-2.lzma", Format::kLzmaAlone, MakeLzmaAlone(text, false));
  const std::string member = MakeLzipMember(text);
  seeds->Add("built-1.lz", Format::kLzip, member + MakeLzipMember("") + member);
  seeds->Add("built-2.lz", Format::kLzip, MakeLzipMember(text, 0) + member + "trailing");
}

// For fuzz_lzma2: choices of each kind of attack, and data that was made of some.
void AddLzma2(SeedFolder* seeds) {
  constexpr uint32_t kCount = 60;
  for (uint32_t seed = 0; seed < kCount; ++seed) {
    std::vector<uint8_t> input = RandomBytes(seed, 20 + 4 * seed);
    input[0] = static_cast<uint8_t>(seed % Lzma2Attack::kKinds);
    seeds->AddInput("lzma2-choices-" + std::to_string(seed), input);
    const Lzma2Made made = MakeLzma2(input, nullptr, {.most_plain = kLargestSeed});
    if (made.data.size() < kLargestSeed) {
      seeds->AddInput("lzma2-data-" + std::to_string(seed), AttackWith(made.data));
    }
  }
}

void AddCorpus(const fs::path& corpus, SeedFolder* seeds) {
  for (const fs::directory_entry& entry : fs::directory_iterator(corpus)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    const std::string file(std::istreambuf_iterator<char>(stream), {});
    const std::string extension = entry.path().extension().string();
    const Format format = extension == ".lzma" ? Format::kLzmaAlone
                          : extension == ".lz" ? Format::kLzip
                                               : Format::kXz;
    seeds->Add(entry.path().filename().string(), format, file);
  }
}

}  // namespace
}  // namespace xzfs

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_fuzz_seeds FOLDER\n");
    return 2;
  }
  xzfs::SeedFolder seeds(argv[1]);
  xzfs::AddBuilt(&seeds);
  xzfs::AddLzma2(&seeds);
  for (const std::filesystem::path& corpus : xzfs::Corpora()) {
    xzfs::AddCorpus(corpus, &seeds);
  }
  std::printf("%zu seeds\n", seeds.count());
  return seeds.count() > 0 ? 0 : 1;
}
