// The log: one line for each event. Nothing is logged before an output is chosen: a program that
// uses this code as a library learns everything from return values.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace xzfs {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Where lines go. Thread-safe.
class LogOutput {
 public:
  virtual ~LogOutput() = default;
  virtual bool Wants(LogLevel level) const = 0;
  // From now on it gets lines of this level and worse ones.
  virtual void SetLevel(LogLevel least) = 0;
  virtual void Write(LogLevel level, std::string_view message) = 0;
};

// Sets the output from now on. It lives as long as the process. Thread-safe.
void SetLogOutput(std::unique_ptr<LogOutput> output);

// Sends the log to stderr or to syslog as "xzfs". Lines under systemd carry its "<N>" priority
// prefix. Control characters in a message (file names are bytes) are shown as \xNN, so that a name
// can't forge a line. Thread-safe.
void LogToStderr(LogLevel least);
void LogToSyslog(LogLevel least);

// Changes the least level that is written, if an output was chosen. Thread-safe.
void SetLogLevel(LogLevel least);

// Whether lines of this level are written: for messages that are costly to build.
bool LogEnabled(LogLevel level);

// `text` with its control characters (file names are bytes) as \xNN.
std::string Printable(std::string_view text);

// Writes one line. Thread-safe.
void Log(LogLevel level, std::string_view message);

}  // namespace xzfs
