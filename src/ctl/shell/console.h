// The messages and the exit code of xzfsctl.
#pragma once

#include <atomic>
#include <compare>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

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
  // Something was done or skipped, and there is something that the user should know about it.
  void Warn(std::string_view message) EXCLUDES(mutex_);
  // The same about one file. A document with --json lists it among its errors.
  void FileError(const std::string& path, std::string_view message) EXCLUDES(mutex_);
  void FileWarning(const std::string& path, std::string_view message) EXCLUDES(mutex_);
  struct FileFailure {
    std::string path;
    std::string message;
    auto operator<=>(const FileFailure&) const = default;
  };
  // What these two got, sorted.
  std::vector<FileFailure> failures() const EXCLUDES(mutex_);
  // Of interest to a user who watches. Doesn't change the exit code.
  void Note(std::string_view message) EXCLUDES(mutex_);
  // Writes to stdout what the user asked for, unchanged.
  void Print(std::string_view text) EXCLUDES(mutex_);

  // Shows the line at the bottom of the terminal; empty: none. If stderr is no terminal it prints
  // an ordinary line.
  void ShowStatus(std::string_view line) EXCLUDES(mutex_);
  // Prints such a line so that it stays.
  void PrintStatus(std::string_view line) EXCLUDES(mutex_);

  // 1: no notes and warnings; 2: no errors either. The exit code stays what it is.
  void SetQuiet(unsigned level) { quiet_ = level; }

  bool stdout_is_terminal() const { return stdout_is_terminal_; }
  bool stderr_is_terminal() const { return stderr_is_terminal_; }
  // The width of stdout in characters; 80 if it is no terminal.
  unsigned columns() const;
  // How long a status line may be so that it doesn't break: one less than stderr is wide. No limit
  // if it is no terminal.
  size_t status_columns() const;

  // The command ended early because of this signal (0: it didn't). The program will end by it too.
  void EndBySignal(int signal) { signal_ = signal; }
  int signal() const { return signal_; }

  // Writes out what Print got. A failure to do so is an Error.
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
  mutable Mutex mutex_;
  int print_error_ GUARDED_BY(mutex_) = 0;  // the first errno of stdout
  std::vector<FileFailure> failures_ GUARDED_BY(mutex_);
  std::string status_ GUARDED_BY(mutex_);  // what stands on the terminal's last line
};

}  // namespace xzfs
