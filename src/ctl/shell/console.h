// What xzfsctl says, and what it ends with.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "base/mutex.h"

namespace xzfs {

// The exit codes are xz's: 0 all is well, 1 an error, 2 only warnings. Messages go to stderr as
// "xzfsctl: ...", one line each, with control characters escaped; a progress line that is on the
// terminal makes room for them. Thread-safe.
class Console {
 public:
  Console();

  // Something could not be done.
  void Error(std::string_view message) EXCLUDES(mutex_);
  // It was done, or left, and there is something the user should know.
  void Warn(std::string_view message) EXCLUDES(mutex_);
  // Of interest to somebody who watches: nothing that changes the exit code.
  void Note(std::string_view message) EXCLUDES(mutex_);
  // What was asked for, to stdout, as it is.
  void Print(std::string_view text) EXCLUDES(mutex_);

  // The line at the bottom of the terminal; empty: none. On what is no terminal it is a line of its
  // own.
  void ShowStatus(std::string_view line) EXCLUDES(mutex_);
  // The same as a line that stays.
  void PrintStatus(std::string_view line) EXCLUDES(mutex_);

  // 1: no notes and warnings; 2: no errors either. The exit code stays what it is.
  void SetQuiet(unsigned level) { quiet_ = level; }

  bool stdout_is_terminal() const { return stdout_is_terminal_; }
  bool stderr_is_terminal() const { return stderr_is_terminal_; }
  // Of stdout, in characters; 80 where it is no terminal.
  unsigned columns() const;

  // The command ended early because of that signal (0: it didn't): so the program does, too.
  void EndBySignal(int signal) { signal_ = signal; }
  int signal() const { return signal_; }

  // Writes out what Print was given. An error of that is an Error.
  void Flush() EXCLUDES(mutex_);
  int exit_code() const;

 private:
  void Say(std::string_view message) EXCLUDES(mutex_);
  void FlushLocked() REQUIRES(mutex_);

  const bool stdout_is_terminal_;
  const bool stderr_is_terminal_;
  std::atomic<unsigned> quiet_{0};
  // Figures that guard nothing.
  std::atomic<bool> erred_{false};
  std::atomic<bool> warned_{false};
  std::atomic<int> signal_{0};
  Mutex mutex_;
  int print_error_ GUARDED_BY(mutex_) = 0;  // the first errno of stdout
  std::string status_ GUARDED_BY(mutex_);   // what stands on the terminal's last line
};

}  // namespace xzfs
