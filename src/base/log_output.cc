// The log of a program: a synchronous spdlog logger with one sink. A line is out when Log returns,
// so nothing is lost with a crash, and there is no thread that a fork could lose.
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/log.h"

namespace xzfs {
namespace {

// How a level is written in front of a line on stderr.
struct LevelPrefix {
  const char* plain;
  const char* journal;
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

class SpdlogOutput : public LogOutput {
 public:
  SpdlogOutput(spdlog::sink_ptr sink, LogLevel least, bool on_stderr)
      : logger_("xzfs", std::move(sink)),
        on_stderr_(on_stderr),
        on_journal_(on_stderr && StderrIsJournal()) {
    logger_.set_pattern("%v");
    logger_.set_level(SpdlogLevel(least));
  }

  bool Wants(LogLevel level) const override { return logger_.should_log(SpdlogLevel(level)); }
  void SetLevel(LogLevel least) override { logger_.set_level(SpdlogLevel(least)); }

  void Write(LogLevel level, std::string_view message) override {
    std::string line;
    if (on_stderr_) {
      const LevelPrefix prefix = PrefixOf(level);
      line = on_journal_ ? prefix.journal : prefix.plain;
    }
    line += Printable(message);
    logger_.log(SpdlogLevel(level), spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  spdlog::logger logger_;
  const bool on_stderr_;
  const bool on_journal_;
};

}  // namespace

void LogToStderr(LogLevel least) {
  SetLogOutput(std::make_unique<SpdlogOutput>(std::make_shared<spdlog::sinks::stderr_sink_mt>(),
                                              least, /*on_stderr=*/true));
}

void LogToSyslog(LogLevel least) {
  // Connected now: later a sandbox or a chroot may be in the way of /dev/log.
  auto sink = std::make_shared<spdlog::sinks::syslog_sink_mt>("xzfs", LOG_PID | LOG_NDELAY,
                                                              LOG_DAEMON, false);
  SetLogOutput(std::make_unique<SpdlogOutput>(std::move(sink), least, /*on_stderr=*/false));
}

}  // namespace xzfs
