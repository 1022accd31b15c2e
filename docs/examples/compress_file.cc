// compress_file FROM TO.xz: on all processors, and says how far it is. An interrupt ends it; TO.xz
// is what it was before, then.
#include <xzfs/files.h>

#include <csignal>
#include <iostream>

namespace {

volatile std::sig_atomic_t interrupted = 0;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "compress_file FROM TO.xz\n";
    return 2;
  }
  std::signal(SIGINT, [](int) { interrupted = 1; });
  const auto progress = [](uint64_t done_bytes, uint64_t total_bytes) {
    std::cout << (total_bytes == 0 ? 100 : done_bytes * 100 / total_bytes) << " %\n";
    return interrupted == 0;
  };
  const xzfs::Status done = xzfs::CompressFile(
      argv[1], argv[2], {.preset = 1, .block_bytes = uint64_t{4} << 20}, progress);
  if (!done) {
    std::cerr << done.error().message << "\n";
    return done.error().kind == xzfs::ErrorKind::kCancelled ? 130 : 1;
  }
}
