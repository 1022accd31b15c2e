#include "ctl/shell/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "base/log.h"

namespace xzfs {
namespace {

unsigned ColumnsOf(int fd) {
  constexpr unsigned kUsual = 80;
  struct winsize size = {};
  const bool known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
  return known ? size.ws_col : kUsual;
}

void Put(std::FILE* to, std::string_view text) { std::fwrite(text.data(), 1, text.size(), to); }

}  // namespace

Console::Console()
    : stdout_is_terminal_(isatty(STDOUT_FILENO) == 1),
      stderr_is_terminal_(isatty(STDERR_FILENO) == 1) {}

void Console::Error(std::string_view message) {
  erred_ = true;
  if (quiet_ < 2) {
    Say(message);
  }
}

void Console::Warn(std::string_view message) {
  warned_ = true;
  if (quiet_ < 1) {
    Say(message);
  }
}

void Console::FileError(const std::string& path, std::string_view message) {
  Error(message);
  MutexLock lock(mutex_);
  failures_.push_back({path, std::string(message)});
}

void Console::FileWarning(const std::string& path, std::string_view message) {
  Warn(message);
  MutexLock lock(mutex_);
  failures_.push_back({path, std::string(message)});
}

std::vector<Console::FileFailure> Console::failures() const {
  MutexLock lock(mutex_);
  std::vector<FileFailure> sorted = failures_;
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

void Console::Note(std::string_view message) {
  if (quiet_ < 1) {
    Say(message);
  }
}

void Console::Say(std::string_view message) {
  const std::string line = "xzfsctl: " + Printable(message) + "\n";
  MutexLock lock(mutex_);
  FlushLocked();
  if (!status_.empty()) {
    Put(stderr, "\r\033[K");
  }
  Put(stderr, line);
  Put(stderr, status_);
}

void Console::Print(std::string_view text) {
  MutexLock lock(mutex_);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() && print_error_ == 0) {
    print_error_ = errno;
  }
}

void Console::ShowStatus(std::string_view line) {
  MutexLock lock(mutex_);
  if (!stderr_is_terminal_) {
    if (!line.empty()) {
      Put(stderr, std::string(line) + "\n");
    }
    return;
  }
  if (!status_.empty() || !line.empty()) {
    Put(stderr, "\r\033[K");
  }
  status_ = line;
  Put(stderr, status_);
}

void Console::PrintStatus(std::string_view line) {
  MutexLock lock(mutex_);
  if (!status_.empty()) {
    Put(stderr, "\r\033[K");
  }
  Put(stderr, std::string(line) + "\n");
  Put(stderr, status_);
}

unsigned Console::columns() const { return ColumnsOf(STDOUT_FILENO); }

size_t Console::status_columns() const {
  return stderr_is_terminal_ ? ColumnsOf(STDERR_FILENO) - 1 : SIZE_MAX;
}

void Console::FlushLocked() {
  if (std::fflush(stdout) != 0 && print_error_ == 0) {
    print_error_ = errno;
  }
}

void Console::Flush() {
  int error = 0;
  {
    MutexLock lock(mutex_);
    FlushLocked();
    error = print_error_;
  }
  if (error != 0) {
    Error("write to stdout: " + std::string(std::strerror(error)));
  }
}

int Console::exit_code() const {
  if (erred_) {
    return 1;
  }
  return warned_ ? 2 : 0;
}

}  // namespace xzfs
