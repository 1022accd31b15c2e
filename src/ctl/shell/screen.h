// The whole terminal, for a command that draws pages on it.
#pragma once

#include <signal.h>
#include <termios.h>

#include <chrono>
#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace xzfs {

// While it exists, stdout is a page on the terminal's alternate screen, and keys are read one by
// one without being shown. The destructor gives the terminal back as it was. So does every signal
// that ends a process and can be caught: they are blocked, and Wait returns them; SIGTSTP stops the
// process on the terminal as it was. If stdin is no terminal there are no keys.
//
// One at a time, and before any other thread. Not thread-safe.
class Screen {
 public:
  // REQUIRES: stdout is a terminal.
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  // Shows lines, which must fit the width; those below the last row are left out. What stood there
  // is overwritten, so that nothing flickers.
  void Draw(const std::string& lines);

  enum class Event { kTime, kKey, kResized, kSignal, kReadable };
  // Waits until something happens, at most this long. `fd`: may become readable, too; -1: none.
  Event Wait(std::chrono::milliseconds time, int fd);
  // After kKey.
  char key() const { return key_; }
  // After kSignal.
  int signal() const { return signal_; }

 private:
  void Enter();
  void Leave();
  Event TakeSignal();
  void Stop();

  sigset_t before_;
  struct termios mode_ = {};
  bool has_keys_ = false;
  UniqueFd signals_;  // a signalfd
  char key_ = 0;
  int signal_ = 0;
};

}  // namespace xzfs
