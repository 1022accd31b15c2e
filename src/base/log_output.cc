// The log of a program, on stderr or in syslog. A line is written when Log returns, so a crash
// loses nothing. There is no thread and no lock of ours that a fork could lose: one call of stdio
// or syslog writes a line, and these have their own locks.
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/log.h"

namespace xzfs {
namespace {

struct LevelWords {
  const char* prefix;  // of a line on stderr
  int priority;        // of syslog, and of systemd's journal
};

LevelWords WordsOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return {"xzfs: debug: ", LOG_DEBUG};
    case LogLevel::kInfo:
      return {"xzfs: ", LOG_INFO};
    case LogLevel::kWarning:
      return {"xzfs: warning: ", LOG_WARNING};
    case LogLevel::kError:
      break;
  }
  return {"xzfs: error: ", LOG_ERR};
}

// True if stderr is the stream that systemd connected to its journal: JOURNAL_STREAM names its
// device and inode. A shell that redirects stderr keeps the variable, hence the comparison.
bool StderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat st;
  if (stream == nullptr || fstat(STDERR_FILENO, &st) != 0) {
    return false;
  }
  return std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino) == stream;
}

class LeveledOutput : public LogOutput {
 public:
  explicit LeveledOutput(LogLevel least) : least_(least) {}
  bool Wants(LogLevel level) const override { return level >= least_; }
  void SetLevel(LogLevel least) override { least_ = least; }

 private:
  std::atomic<LogLevel> least_;
};

class StderrOutput : public LeveledOutput {
 public:
  using LeveledOutput::LeveledOutput;

  void Write(LogLevel level, std::string_view message) override {
    const LevelWords words = WordsOf(level);
    std::string line =
        on_journal_ ? "<" + std::to_string(words.priority) + ">" : std::string(words.prefix);
    line += Printable(message) + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
  }

 private:
  const bool on_journal_ = StderrIsJournal();
};

class SyslogOutput : public LeveledOutput {
 public:
  explicit SyslogOutput(LogLevel least) : LeveledOutput(least) {
    // Connect now: later a sandbox or a chroot may hide /dev/log.
    openlog("xzfs", LOG_PID | LOG_NDELAY, LOG_DAEMON);
  }

  void Write(LogLevel level, std::string_view message) override {
    syslog(WordsOf(level).priority, "%s", Printable(message).c_str());
  }
};

}  // namespace

void LogToStderr(LogLevel least) { SetLogOutput(std::make_unique<StderrOutput>(least)); }

void LogToSyslog(LogLevel least) { SetLogOutput(std::make_unique<SyslogOutput>(least)); }

}  // namespace xzfs
