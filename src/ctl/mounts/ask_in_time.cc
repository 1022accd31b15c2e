#include "ctl/mounts/ask_in_time.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/unique_fd.h"

namespace xzfs {
namespace {

using Clock = std::chrono::steady_clock;

// In the child. Ends it.
[[noreturn]] void Answer(int to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = write(to, text.data(), text.size());
    if (put < 0 && errno != EINTR) {
      _exit(1);
    }
    text.remove_prefix(static_cast<size_t>(std::max<ssize_t>(put, 0)));
  }
  _exit(0);
}

// All that comes until the end; nothing if the end doesn't come in time.
std::optional<std::string> ReadUntil(int from, Clock::time_point end) {
  std::string text;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    struct pollfd wanted = {.fd = from, .events = POLLIN, .revents = 0};
    const int ready = poll(&wanted, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready == 0) {
      return std::nullopt;
    }
    char part[4096];
    const ssize_t got = ready < 0 ? -1 : read(from, part, sizeof part);
    if (got == 0) {
      return text;
    }
    text.append(part, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  }
}

}  // namespace

std::optional<std::string> AskInTime(std::chrono::milliseconds limit,
                                     const std::function<std::string()>& ask) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return std::nullopt;
  }
  const UniqueFd from(ends[0]);
  UniqueFd to(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    Answer(to.get(), ask());
  }
  to.Reset();
  if (child < 0) {
    return std::nullopt;
  }
  auto answer = ReadUntil(from.get(), Clock::now() + limit);
  if (!answer) {
    kill(child, SIGKILL);
  }
  while (waitpid(child, nullptr, answer ? 0 : WNOHANG) < 0 && errno == EINTR) {
  }
  return answer;
}

}  // namespace xzfs
