// The log is a synchronous spdlog logger with one sink: a line is out when Log returns, so nothing
// is lost with a crash, and there is no thread that a fork could lose.
#include "base/log.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace xzfs {
namespace {

// How a level is written in front of a line on stderr.
struct LevelPrefix {
  const char* plain;
  const char* journal;
};

struct Destination {
  std::unique_ptr<spdlog::logger> logger;
  bool on_stderr = true;
  bool on_journal = false;
  Destination* replaced = nullptr;
};

// True if stderr is the stream that systemd connected to its journal: JOURNAL_STREAM names its
// device and inode. A shell that redirects stderr leaves the variable, hence the comparison.
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st;
  if (stream == nullptr || fstat(STDERR_FILENO, &st) != 0) {
    return false;
  }
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) == stream;
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

LevelPrefix PrefixOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return {"xzfs: debug: ", "<7>"};
    case LogLevel::kInfo:
      return {"xzfs: ", "<6>"};
    case LogLevel::kWarning:
      return {"xzfs: warning: ", "<4>"};
    case LogLevel::kError:
      break;
  }
  return {"xzfs: error: ", "<3>"};
}

std::unique_ptr<Destination> MakeDestination(bool on_stderr, LogLevel least) {
  auto destination = std::make_unique<Destination>();
  spdlog::sink_ptr sink;
  if (on_stderr) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    destination->on_journal = StderrIsJournal();
  } else {
    // Connected now: later a sandbox or a chroot may be in the way of /dev/log.
    sink = std::make_shared<spdlog::sinks::syslog_sink_mt>("xzfs", LOG_PID | LOG_NDELAY, LOG_DAEMON,
                                                           false);
  }
  destination->on_stderr = on_stderr;
  destination->logger = std::make_unique<spdlog::logger>("xzfs", std::move(sink));
  destination->logger->set_pattern("%v");
  destination->logger->set_level(SpdlogLevel(least));
  return destination;
}

// Destinations are never freed: a thread may be writing to one while it is replaced, which happens
// once or twice in a process, and threads may log while statics are destroyed.
std::atomic<Destination*>& Current() {
  static std::atomic<Destination*> current{MakeDestination(true, LogLevel::kInfo).release()};
  return current;
}

void Replace(std::unique_ptr<Destination> destination) {
  Destination* next = destination.release();
  next->replaced = Current().exchange(next);
}

void AppendEscaped(unsigned char byte, std::string& out) {
  char text[5];
  std::snprintf(text, sizeof text, "\\x%02x", byte);
  out += text;
}

}  // namespace

std::string Printable(std::string_view message) {
  std::string out;
  for (size_t i = 0; i < message.size(); ++i) {
    const auto byte = static_cast<unsigned char>(message[i]);
    if (byte < 0x20 || byte == 0x7f) {
      AppendEscaped(byte, out);
      continue;
    }
    // U+0080 to U+009f in UTF-8: terminals obey these as they do escape sequences.
    if (byte == 0xc2 && i + 1 < message.size()) {
      const auto next = static_cast<unsigned char>(message[i + 1]);
      if (next >= 0x80 && next <= 0x9f) {
        AppendEscaped(byte, out);
        AppendEscaped(next, out);
        ++i;
        continue;
      }
    }
    out += message[i];
  }
  return out;
}

void LogToStderr(LogLevel least) { Replace(MakeDestination(true, least)); }

void LogToSyslog(LogLevel least) { Replace(MakeDestination(false, least)); }

bool LogEnabled(LogLevel level) {
  return Current().load(std::memory_order_acquire)->logger->should_log(SpdlogLevel(level));
}

void Log(LogLevel level, std::string_view message) {
  Destination& destination = *Current().load(std::memory_order_acquire);
  if (!destination.logger->should_log(SpdlogLevel(level))) {
    return;
  }
  std::string line;
  if (destination.on_stderr) {
    const LevelPrefix prefix = PrefixOf(level);
    line = destination.on_journal ? prefix.journal : prefix.plain;
  }
  line += Printable(message);
  destination.logger->log(SpdlogLevel(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace xzfs
