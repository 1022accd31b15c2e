#include "main/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/fail.h"

namespace xzfs {

Result<UniqueFd> CatchEndSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    // Blocked signals are kept for the descriptor even if they are ignored.
    struct sigaction action;
    if (sigaction(number, nullptr, &action) != 0 || action.sa_handler != SIG_IGN) {
      sigaddset(&set, number);
    }
  }
  if (pthread_sigmask(SIG_BLOCK, &set, nullptr) != 0) {
    return FailErrno(errno, "pthread_sigmask");
  }
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    return FailErrno(errno, "signalfd");
  }
  return fd;
}

int TakeSignal(int signal_fd) {
  signalfd_siginfo info;
  return read(signal_fd, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

bool WaitForOther(int signal_fd, int other) {
  while (true) {
    pollfd fds[2] = {{other, POLLIN, 0}, {signal_fd, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      continue;  // EINTR or ENOMEM: these arguments allow no other error
    }
    if (fds[0].revents != 0) {
      return true;
    }
    if (fds[1].revents != 0 && TakeSignal(signal_fd) != 0) {
      return false;
    }
  }
}

}  // namespace xzfs
