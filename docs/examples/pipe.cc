// pipe [-d]: compresses standard input to standard output, or decompresses it. Nothing but two
// buffers is in memory, whatever goes through.
#include <xzfs/compress.h>

#include <array>
#include <cstdio>
#include <span>
#include <string_view>

namespace {

std::array<std::byte, 65536> in;
std::array<std::byte, 65536> out;

// The next input; empty at the end.
std::span<const std::byte> Read() {
  return std::span(in).first(std::fread(in.data(), 1, in.size(), stdin));
}

void Write(size_t count) { std::fwrite(out.data(), 1, count, stdout); }

xzfs::Status Compress() {
  auto compressor = xzfs::Compressor::Create();
  if (!compressor) {
    return xzfs::Failure(compressor.error());
  }
  for (auto left = Read(); !left.empty(); left = left.empty() ? Read() : left) {
    const auto coded = compressor->Compress(left, out);
    if (!coded) {
      return xzfs::Failure(coded.error());
    }
    left = left.subspan(coded->consumed);
    Write(coded->produced);
  }
  while (!compressor->finished()) {
    const auto produced = compressor->Finish(out);
    if (!produced) {
      return xzfs::Failure(produced.error());
    }
    Write(*produced);
  }
  return {};
}

xzfs::Status Decompress() {
  auto decompressor = xzfs::Decompressor::Create({.memory_limit_bytes = uint64_t{100} << 20});
  if (!decompressor) {
    return xzfs::Failure(decompressor.error());
  }
  for (auto left = Read(); !left.empty();) {
    do {  // there may be more in it than the buffer takes
      const auto coded = decompressor->Decompress(left, out);
      if (!coded) {
        return xzfs::Failure(coded.error());
      }
      left = left.subspan(coded->consumed);
      Write(coded->produced);
    } while (!decompressor->needs_input());
    left = Read();
  }
  return decompressor->Finish();
}

}  // namespace

int main(int argc, char** argv) {
  const bool decompresses = argc == 2 && std::string_view(argv[1]) == "-d";
  if (const xzfs::Status done = decompresses ? Decompress() : Compress(); !done) {
    std::fprintf(stderr, "%s\n", done.error().message.c_str());
    return 1;
  }
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0 ? 0 : 1;
}
