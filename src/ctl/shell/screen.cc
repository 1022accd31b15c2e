// Signals are taken from a signalfd, never by a handler, so the terminal is given back by ordinary
// code. All that end a process are blocked, except those that its own faults raise and SIGKILL,
// which no program can catch.
//
// Signals of the keyboard (^C, ^Z) still come as signals. Only the line mode and the echo are off.
// The page is drawn from the top: each line clears its rest, and the last one all below it.
#include "ctl/shell/screen.h"

#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string_view>

namespace xzfs {
namespace {

constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l";  // the other screen, without a cursor
constexpr std::string_view kLeave = "\x1b[?25h\x1b[?1049l";

sigset_t CaughtSignals() {
  sigset_t set;
  sigfillset(&set);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&set, fault);
  }
  // These end no process.
  for (const int harmless : {SIGCHLD, SIGURG, SIGCONT, SIGTTIN, SIGTTOU}) {
    sigdelset(&set, harmless);
  }
  return set;
}

void Put(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

size_t Rows() {
  constexpr size_t kUsual = 24;
  struct winsize size = {};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row != 0 ? size.ws_row : kUsual;
}

}  // namespace

Screen::Screen() {
  const sigset_t caught = CaughtSignals();
  signals_ = UniqueFd(signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK));
  // Without a descriptor they must do what they usually do.
  pthread_sigmask(SIG_BLOCK, signals_.valid() ? &caught : nullptr, &before_);
  has_keys_ = tcgetattr(STDIN_FILENO, &mode_) == 0;
  Enter();
}

Screen::~Screen() {
  Leave();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Screen::Enter() {
  if (has_keys_) {
    struct termios raw = mode_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
  }
  Put(kEnter);
}

void Screen::Leave() {
  Put(kLeave);
  if (has_keys_) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &mode_);
  }
}

void Screen::Draw(const std::string& lines) {
  std::string page = "\x1b[H";
  size_t row = 0;
  const size_t rows = Rows();
  for (size_t at = 0; at < lines.size() && row < rows; ++row) {
    const size_t end = std::min(lines.find('\n', at), lines.size());
    page += row == 0 ? "" : "\n";
    page += lines.substr(at, end - at) + "\x1b[K";
    at = end + 1;
  }
  Put(page + "\x1b[J");
}

Screen::Event Screen::Wait(std::chrono::milliseconds time, int fd) {
  // poll(2) leaves out what is below 0.
  struct pollfd wanted[] = {{.fd = signals_.get(), .events = POLLIN, .revents = 0},
                            {.fd = has_keys_ ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0},
                            {.fd = fd, .events = POLLIN, .revents = 0}};
  const int count = poll(wanted, std::size(wanted), static_cast<int>(time.count()));
  if (count <= 0) {
    return Event::kTime;
  }
  if (wanted[0].revents != 0) {
    return TakeSignal();
  }
  if (wanted[1].revents == 0) {
    return Event::kReadable;
  }
  if (read(STDIN_FILENO, &key_, 1) == 1) {
    return Event::kKey;
  }
  has_keys_ = false;  // the terminal is gone; SIGHUP says so, too
  return Event::kTime;
}

Screen::Event Screen::TakeSignal() {
  struct signalfd_siginfo info = {};
  if (read(signals_.get(), &info, sizeof info) != sizeof info) {
    return Event::kTime;
  }
  const int number = static_cast<int>(info.ssi_signo);
  if (number == SIGTSTP) {
    Stop();
    return Event::kResized;
  }
  if (number == SIGWINCH) {
    return Event::kResized;
  }
  signal_ = number;
  return Event::kSignal;
}

// Returns when the process is continued.
void Screen::Stop() {
  Leave();
  raise(SIGSTOP);
  Enter();
}

}  // namespace xzfs
