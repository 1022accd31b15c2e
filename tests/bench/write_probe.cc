// Writes as users do and prints how long it took, as one line of JSON.
#include <getopt.h>
#include <sys/xattr.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "bench/probe_file.h"

namespace xzfs::bench {
namespace {

constexpr char kUsage[] =
    "usage: write_probe SOURCE TARGET [OPTION...]\n"
    "\n"
    "Writes SOURCE to the new file TARGET and closes it.\n"
    "\n"
    "  --offset BYTES  from there on into the TARGET that is there\n"
    "  --append        at the end of the TARGET that is there\n"
    "  --limit BYTES   of SOURCE only so many\n"
    "  --sync MOUNT    after the close, until that fresh mount of xzfs has committed it\n"
    "\n"
    "seconds: from the open to the end. after_close_s: of those, the ones from the close on.\n"
    "syncs: how often the mount was asked.\n";

// The mount answers it when nothing is pending any more.
constexpr char kSyncAttribute[] = "user.xzfs.cmd.sync";
constexpr char kStatsAttribute[] = "user.xzfs.stats";
// The kernel reports a close after close() has returned, so for a moment nothing may be pending. If
// there is no commit within a second, there is none.
constexpr unsigned kMaxSyncs = 1000;

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Arguments {
  std::string source;
  std::string target;
  std::string sync;  // empty: don't wait
  uint64_t offset = 0;
  uint64_t limit = UINT64_MAX;
  int flags = O_CREAT | O_EXCL;
};

uint64_t Number(const char* text) {
  char* end = nullptr;
  const uint64_t number = strtoull(text, &end, 10);
  Require(*text != '\0' && *end == '\0', std::string("not a number: ") + text);
  return number;
}

Arguments Parse(int argc, char** argv) {
  static constexpr option kOptions[] = {{"offset", required_argument, nullptr, 'o'},
                                        {"append", no_argument, nullptr, 'a'},
                                        {"limit", required_argument, nullptr, 'l'},
                                        {"sync", required_argument, nullptr, 's'},
                                        {}};
  Arguments a;
  for (int chosen; (chosen = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    Require(chosen != '?', kUsage);
    if (chosen == 'o') {
      a.offset = Number(optarg);
      a.flags = 0;
    } else if (chosen == 'a') {
      a.flags = O_APPEND;
    } else if (chosen == 'l') {
      a.limit = Number(optarg);
    } else {
      a.sync = optarg;
    }
  }
  Require(argc - optind == 2, kUsage);
  a.source = argv[optind];
  a.target = argv[optind + 1];
  return a;
}

void WriteAll(int fd, const Arguments& a, uint64_t offset, const char* from, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = (a.flags & O_APPEND) != 0
                          ? write(fd, from, bytes)
                          : pwrite(fd, from, bytes, static_cast<off_t>(offset));
    Require(n > 0, a.target + ": " + strerror(errno));
    from += n;
    offset += static_cast<uint64_t>(n);
    bytes -= static_cast<size_t>(n);
  }
}

uint64_t Copy(const ProbeFile& source, int to, const Arguments& a) {
  const uint64_t bytes = std::min(source.size(), a.limit);
  std::vector<char> buffer(std::min<uint64_t>(bytes, 1 << 20));
  for (uint64_t done = 0; done < bytes;) {
    const size_t want = std::min<uint64_t>(buffer.size(), bytes - done);
    Require(source.ReadAt(done, buffer.data(), want) == want, a.source + ": shorter than it says");
    WriteAll(to, a, a.offset + done, buffer.data(), want);
    done += want;
  }
  return bytes;
}

std::string Attribute(const std::string& mount, const char* name) {
  std::string value(1 << 16, '\0');
  const ssize_t n = getxattr(mount.c_str(), name, value.data(), value.size());
  Require(n >= 0, mount + ": " + name + ": " + strerror(errno));
  value.resize(static_cast<size_t>(n));
  return value;
}

uint64_t CommitsDone(const std::string& mount) {
  const std::string stats = Attribute(mount, kStatsAttribute);
  const size_t commits = stats.find("\"commits\"");
  const size_t done = commits == std::string::npos ? commits : stats.find("\"done\":", commits);
  Require(done != std::string::npos, mount + ": no commits.done in " + kStatsAttribute);
  return strtoull(stats.c_str() + done + sizeof "\"done\":" - 1, nullptr, 10);
}

// Returns the number of requests.
unsigned AwaitCommit(const std::string& mount) {
  for (unsigned asked = 1;; ++asked) {
    const std::string answer = Attribute(mount, kSyncAttribute);
    Require(answer == "ok", mount + ": " + kSyncAttribute + " answers " + answer);
    if (CommitsDone(mount) != 0) {
      return asked;
    }
    Require(asked < kMaxSyncs, mount + ": nothing was committed");
    usleep(1000);  // poll
  }
}

void Run(const Arguments& a) {
  const ProbeFile source(a.source);
  const Clock::time_point start = Clock::now();
  const int to = open(a.target.c_str(), O_WRONLY | a.flags, 0644);
  Require(to >= 0, a.target + ": " + strerror(errno));
  const uint64_t bytes = Copy(source, to, a);
  const Clock::time_point written = Clock::now();
  Require(close(to) == 0, a.target + ": " + strerror(errno));
  const unsigned syncs = a.sync.empty() ? 0 : AwaitCommit(a.sync);
  printf("{\"bytes\": %ju, \"seconds\": %.6f, \"after_close_s\": %.6f, \"syncs\": %u}\n",
         static_cast<uintmax_t>(bytes), SecondsSince(start), SecondsSince(written), syncs);
}

}  // namespace
}  // namespace xzfs::bench

int main(int argc, char** argv) { xzfs::bench::Run(xzfs::bench::Parse(argc, argv)); }
