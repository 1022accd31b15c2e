#include "main/start_report.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <string>

#include "base/fail.h"

namespace xzfs {
namespace {

constexpr size_t kHeaderBytes = 3;
static_assert(kHeaderBytes + StartReporter::kMaxTextBytes <= PIPE_BUF, "one write, never split");

bool ReadAll(int fd, unsigned char* out, size_t count) {
  while (count > 0) {
    const ssize_t got = read(fd, out, count);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return false;
    }
    out += got;
    count -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

void StartReporter::Send(const Refusal& report) {
  if (sent_.exchange(true)) {
    return;
  }
  const size_t text_bytes = std::min(report.message.size(), kMaxTextBytes);
  std::string message;
  message += static_cast<char>(report.code);
  message += static_cast<char>(text_bytes & 0xff);
  message += static_cast<char>(text_bytes >> 8);
  message.append(report.message, 0, text_bytes);
  while (write(pipe_.get(), message.data(), message.size()) < 0 && errno == EINTR) {
  }
  pipe_.Reset();
}

std::optional<Refusal> ReadStartReport(int pipe) {
  unsigned char header[kHeaderBytes];
  if (!ReadAll(pipe, header, kHeaderBytes)) {
    return std::nullopt;
  }
  Refusal report{static_cast<ExitCode>(header[0]), ""};
  unsigned char text[StartReporter::kMaxTextBytes];
  const size_t text_bytes =
      std::min<size_t>(size_t{header[1]} | size_t{header[2]} << 8, sizeof text);
  if (ReadAll(pipe, text, text_bytes)) {
    report.message.assign(reinterpret_cast<const char*>(text), text_bytes);
  }
  return report;
}

Result<std::pair<UniqueFd, UniqueFd>> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return FailErrno(errno, "pipe");
  }
  return std::make_pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

}  // namespace xzfs
