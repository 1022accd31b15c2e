// The log: one line an event, to stderr in the foreground, to syslog in the background.
#pragma once

#include <string>
#include <string_view>

namespace xzfs {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Sends the log to stderr (the default) or to syslog as "xzfs". Lines under systemd carry its
// "<N>" priority prefix. Thread-safe.
void LogToStderr(LogLevel least);
void LogToSyslog(LogLevel least);

// Whether lines of this level are written at all: for messages that are costly to put together.
bool LogEnabled(LogLevel level);

// `text` with its control characters (file names are bytes) as \xNN.
std::string Printable(std::string_view text);

// Writes one line. Thread-safe. Control characters in `message` (file names are bytes) are shown as
// \xNN, so that a name can't forge a line.
void Log(LogLevel level, std::string_view message);

}  // namespace xzfs
