// The answer comes through a pipe as text: "=" and JSON, or "!", an errno, a blank and a message,
// which may hold any bytes.
#include "ctl/mounts/question.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/fail.h"

namespace xzfs {
namespace {

using Clock = std::chrono::steady_clock;

// In the child. Ends it.
[[noreturn]] void Answer(int to, const Result<Json>& answer) {
  const std::string text =
      answer ? "=" + answer->dump()
             : "!" + std::to_string(answer.error().code) + " " + answer.error().message;
  for (std::string_view left = text; !left.empty();) {
    const ssize_t put = write(to, left.data(), left.size());
    if (put < 0 && errno != EINTR) {
      _exit(1);
    }
    left.remove_prefix(static_cast<size_t>(std::max<ssize_t>(put, 0)));
  }
  _exit(0);
}

Result<Json> Understood(const std::string& text) {
  if (text.starts_with('=')) {
    Json json = Json::parse(text.substr(1), nullptr, /*allow_exceptions=*/false);
    if (!json.is_discarded()) {
      return json;
    }
  }
  int code = 0;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data() + (text.empty() ? 0 : 1), end, code);
  if (!text.starts_with('!') || number.ptr == end) {
    return Fail(ECHILD, "the process that should ask the mount has failed; try again");
  }
  return Fail(code, std::string(number.ptr + 1, end));
}

}  // namespace

Question::Question(const std::function<Result<Json>()>& ask) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return;
  }
  from_ = UniqueFd(ends[0]);
  const UniqueFd to(ends[1]);
  fcntl(from_.get(), F_SETFL, O_NONBLOCK);
  child_ = fork();
  if (child_ == 0) {
    Answer(to.get(), ask());
  }
}

Question::~Question() {
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, WNOHANG);
  }
}

std::optional<Result<Json>> Question::Read() {
  char part[4096];
  ssize_t got = 0;
  while (child_ > 0 && (got = read(from_.get(), part, sizeof part)) > 0) {
    text_.append(part, static_cast<size_t>(got));
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return std::nullopt;
  }
  while (child_ > 0 && waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
  return Understood(text_);
}

std::optional<Result<Json>> Question::WaitFor(std::chrono::milliseconds limit) {
  const auto end = Clock::now() + limit;
  for (;;) {
    if (auto answer = Read()) {
      return answer;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    struct pollfd wanted = {.fd = fd(), .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || poll(&wanted, 1, static_cast<int>(left.count())) == 0) {
      return std::nullopt;
    }
  }
}

Result<Json> Question::Wait() {
  for (;;) {
    if (auto answer = WaitFor(std::chrono::minutes(1))) {
      return *std::move(answer);
    }
  }
}

}  // namespace xzfs
