// Runs a fuzzer without libFuzzer:
//
//   FUZZER FILE|FOLDER...          over files, and over all files in folders. A folder that does
//   not
//                                  exist has no files; no file at all is a failure.
//   FUZZER --random SECONDS SEED   over random inputs for so long, each from the next seed
//
// A random input that ends the program, or takes too long, is written to the file found-SEED.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

// A random input has up to 8 KiB; half of them have less than a hundred bytes.
constexpr unsigned kLargestRandomBits = 13;
constexpr unsigned kMostSeconds = 100;  // for one, on a busy machine

void Replay(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(stream)), {});
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

int ReplayAll(int count, char** paths) {
  size_t inputs = 0;
  for (int i = 0; i < count; ++i) {
    const fs::path path = paths[i];
    if (fs::is_regular_file(path)) {
      Replay(path);
      ++inputs;
    } else if (fs::is_directory(path)) {
      for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
        std::fprintf(stderr, "%s\n", entry.path().c_str());
        Replay(entry.path());
        ++inputs;
      }
    }
  }
  std::printf("%zu inputs\n", inputs);
  return inputs > 0 ? 0 : 1;
}

// What a signal handler needs.
struct {
  char name[32];
  const uint8_t* data;
  size_t size;
} current_input;

void WriteInput(int signal) {
  const int fd = open(current_input.name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const ssize_t written = write(fd, current_input.data, current_input.size);
  const bool is_whole = written == static_cast<ssize_t>(current_input.size);
  (void)!write(STDERR_FILENO, is_whole ? "see " : "can't write ", is_whole ? 4 : 12);
  (void)!write(STDERR_FILENO, current_input.name, std::strlen(current_input.name));
  (void)!write(STDERR_FILENO, "\n", 1);
  // Ends as it would have ended.
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

int RunRandom(std::chrono::seconds time, uint32_t seed) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) {
    std::signal(signal, WriteInput);
  }
  using Clock = std::chrono::steady_clock;
  const Clock::time_point end = Clock::now() + time;
  size_t inputs = 0;
  for (; Clock::now() < end; ++seed, ++inputs) {
    std::mt19937 random(seed);
    std::vector<uint8_t> bytes(random() % (1U << random() % (kLargestRandomBits + 1)));
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(random());
    }
    std::snprintf(current_input.name, sizeof(current_input.name), "found-%u", seed);
    current_input.data = bytes.data();
    current_input.size = bytes.size();
    alarm(kMostSeconds);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu inputs, the next seed is %u\n", inputs, seed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "--random") == 0) {
    return RunRandom(std::chrono::seconds(std::atol(argv[2])),
                     static_cast<uint32_t>(std::strtoul(argv[3], nullptr, 10)));
  }
  return ReplayAll(argc - 1, argv + 1);
}
