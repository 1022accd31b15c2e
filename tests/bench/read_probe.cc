// Reads as users do and prints how long it took, as one line of JSON.
#include <getopt.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "bench/lzma_reference.h"
#include "bench/offsets.h"
#include "bench/probe_file.h"

namespace xzfs::bench {
namespace {

constexpr char kUsage[] =
    "usage: read_probe MODE PATH [OPTION...]\n"
    "\n"
    "  seq                the file from start to end, or --limit bytes of it; each of --threads\n"
    "                     reads its own part; with --backward 1 in reads from end to start\n"
    "  random             --count reads of --size bytes in each of --threads; with --direct 1\n"
    "                     past the page cache\n"
    "  tree               every file below a directory\n"
    "  decode-block       for the offsets of `random`: the Block there alone, by bare liblzma\n"
    "  decode-from-start  for the offsets of `random`: from the only Block's start up to there\n"
    "\n"
    "  --size N  --count N  --seed N  --threads N  --limit BYTES  --max-seconds N\n"
    "  --distinct BYTES   no two offsets in the same stretch of so many bytes\n";

struct Arguments {
  std::string mode;
  std::string path;
  uint64_t size = 0;  // 0: the default of the mode
  uint64_t count = 1000;
  uint64_t seed = 1;
  uint64_t threads = 1;
  uint64_t limit = UINT64_MAX;
  uint64_t distinct = 0;
  uint64_t max_seconds = UINT64_MAX;
  uint64_t backward = 0;
  uint64_t direct = 0;
};

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void InThreads(uint64_t count, const std::function<void(uint64_t)>& work) {
  std::vector<std::thread> threads;
  for (uint64_t i = 1; i < count; ++i) {
    threads.emplace_back(work, i);
  }
  work(0);
  for (std::thread& thread : threads) {
    thread.join();
  }
}

void Sequential(const Arguments& a) {
  const Clock::time_point start = Clock::now();
  const ProbeFile file(a.path);
  const uint64_t bytes = std::min(file.size(), a.limit);
  const uint64_t part = (bytes + a.threads - 1) / a.threads;
  std::atomic<uint64_t> done{0};
  InThreads(a.threads, [&](uint64_t thread) {
    std::vector<char> buffer(a.size != 0 ? a.size : 1 << 20);
    const uint64_t first = std::min(bytes, thread * part);
    const uint64_t mine = std::min(bytes, first + part) - first;
    for (uint64_t passed = 0;
         passed < mine && SecondsSince(start) < static_cast<double>(a.max_seconds);) {
      const size_t want = std::min<uint64_t>(buffer.size(), mine - passed);
      const uint64_t at = a.backward != 0 ? first + mine - passed - want : first + passed;
      Require(file.ReadAt(at, buffer.data(), want) == want, a.path + ": shorter than it says");
      passed += want;
      done += want;
    }
  });
  printf("{\"bytes\": %ju, \"seconds\": %.6f}\n", static_cast<uintmax_t>(done.load()),
         SecondsSince(start));
}

void PrintLatencies(std::vector<double> us, double seconds) {
  Require(!us.empty(), "no read was made");
  std::sort(us.begin(), us.end());
  const double mean = std::accumulate(us.begin(), us.end(), 0.0) / static_cast<double>(us.size());
  printf(
      "{\"reads\": %zu, \"seconds\": %.6f, \"mean_us\": %.3f, \"p50_us\": %.3f, "
      "\"p99_us\": %.3f, \"max_us\": %.3f}\n",
      us.size(), seconds, mean, us[us.size() / 2], us[us.size() * 99 / 100], us.back());
}

OffsetPlan PlanOf(const Arguments& a) {
  return {.read_bytes = a.size != 0 ? a.size : 4096,
          .count = a.count,
          .seed = a.seed,
          .stretch_bytes = a.distinct};
}

void Random(const Arguments& a) {
  const ProbeFile file(a.path, a.direct != 0 ? O_DIRECT : 0);
  std::vector<std::vector<double>> us(a.threads);
  const Clock::time_point start = Clock::now();
  InThreads(a.threads, [&](uint64_t thread) {
    OffsetPlan plan = PlanOf(a);
    plan.file_bytes = file.size();
    plan.seed += thread;
    std::vector<char> buffer(plan.read_bytes);
    const std::vector<uint64_t> offsets = MakeOffsets(plan);
    us[thread].reserve(offsets.size());
    for (const uint64_t offset : offsets) {
      const Clock::time_point before = Clock::now();
      Require(file.ReadAt(offset, buffer.data(), buffer.size()) == buffer.size(),
              a.path + ": shorter than it says");
      us[thread].push_back(SecondsSince(before) * 1e6);
      if (SecondsSince(start) > static_cast<double>(a.max_seconds)) {
        break;
      }
    }
  });
  const double seconds = SecondsSince(start);
  for (size_t i = 1; i < us.size(); ++i) {
    us[0].insert(us[0].end(), us[i].begin(), us[i].end());
  }
  PrintLatencies(std::move(us[0]), seconds);
}

void Tree(const Arguments& a) {
  namespace fs = std::filesystem;
  const Clock::time_point start = Clock::now();
  std::vector<char> buffer(a.size != 0 ? a.size : 1 << 20);
  uint64_t files = 0;
  uint64_t bytes = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(a.path)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    const ProbeFile file(entry.path());
    uint64_t at = 0;
    while (const size_t got = file.ReadAt(at, buffer.data(), buffer.size())) {
      at += got;
    }
    ++files;
    bytes += at;
  }
  printf("{\"files\": %ju, \"bytes\": %ju, \"seconds\": %.6f}\n", static_cast<uintmax_t>(files),
         static_cast<uintmax_t>(bytes), SecondsSince(start));
}

void Reference(const Arguments& a, std::vector<double> (*decode)(const std::string&, OffsetPlan)) {
  const Clock::time_point start = Clock::now();
  const std::vector<double> us = decode(a.path, PlanOf(a));
  PrintLatencies(us, SecondsSince(start));
}

Arguments Parse(int argc, char** argv) {
  Arguments a;
  const std::vector<std::pair<const char*, uint64_t*>> numbers = {{"size", &a.size},
                                                                  {"count", &a.count},
                                                                  {"seed", &a.seed},
                                                                  {"limit", &a.limit},
                                                                  {"distinct", &a.distinct},
                                                                  {"threads", &a.threads},
                                                                  {"max-seconds", &a.max_seconds},
                                                                  {"backward", &a.backward},
                                                                  {"direct", &a.direct}};
  std::vector<option> options;
  for (size_t i = 0; i < numbers.size(); ++i) {
    options.push_back({numbers[i].first, required_argument, nullptr, static_cast<int>(i)});
  }
  options.push_back({});
  for (int chosen; (chosen = getopt_long(argc, argv, "", options.data(), nullptr)) != -1;) {
    char* end = nullptr;
    Require(chosen != '?', kUsage);
    *numbers[static_cast<size_t>(chosen)].second = strtoull(optarg, &end, 10);
    Require(*optarg != '\0' && *end == '\0', std::string("not a number: ") + optarg);
  }
  Require(argc - optind == 2 && a.threads > 0, kUsage);
  a.mode = argv[optind];
  a.path = argv[optind + 1];
  return a;
}

void Run(const Arguments& a) {
  if (a.mode == "seq") {
    Sequential(a);
  } else if (a.mode == "random") {
    Random(a);
  } else if (a.mode == "tree") {
    Tree(a);
  } else if (a.mode == "decode-block") {
    Reference(a, DecodeBlocks);
  } else if (a.mode == "decode-from-start") {
    Reference(a, DecodeFromStart);
  } else {
    Require(false, kUsage);
  }
}

}  // namespace
}  // namespace xzfs::bench

int main(int argc, char** argv) { xzfs::bench::Run(xzfs::bench::Parse(argc, argv)); }
