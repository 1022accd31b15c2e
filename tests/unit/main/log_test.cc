#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

// Sends stderr to a file as long as this object exists.
class CapturedStderr {
 public:
  CapturedStderr() : saved_(dup(STDERR_FILENO)) {
    const int fd = open((folder_ / "log").c_str(), O_CREAT | O_RDWR | O_APPEND, 0600);
    dup2(fd, STDERR_FILENO);
    close(fd);
  }
  ~CapturedStderr() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    LogToStderr(LogLevel::kInfo);
  }
  std::string Text() const {
    std::ifstream file(folder_ / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  TempDir folder_;
  int saved_;
};

TEST(Log, NamesTheProgramAndTheLevel) {
  CapturedStderr captured;
  LogToStderr(LogLevel::kDebug);
  Log(LogLevel::kDebug, "a");
  Log(LogLevel::kInfo, "b");
  Log(LogLevel::kWarning, "c");
  Log(LogLevel::kError, "{} %s d");
  EXPECT_EQ(captured.Text(), "xzfs: debug: a\nxzfs: b\nxzfs: warning: c\nxzfs: error: {} %s d\n");
}

TEST(Log, LeavesOutWhatIsBelowTheLevel) {
  CapturedStderr captured;
  LogToStderr(LogLevel::kWarning);
  Log(LogLevel::kDebug, "a");
  Log(LogLevel::kInfo, "b");
  Log(LogLevel::kWarning, "c");
  EXPECT_EQ(captured.Text(), "xzfs: warning: c\n");
}

TEST(Log, ShowsControlCharactersSoThatANameForgesNoLine) {
  CapturedStderr captured;
  LogToStderr(LogLevel::kInfo);
  Log(LogLevel::kInfo, std::string_view("a\nxzfs: b\t\x1b[0m\x7f\0\xc2\x9b!", 19));
  Log(LogLevel::kInfo, "\xc3\xa4 \xc2\xa0 \xff");  // text, and a byte that is none, stay
  EXPECT_EQ(
      captured.Text(),
      "xzfs: a\\x0axzfs: b\\x09\\x1b[0m\\x7f\\x00\\xc2\\x9b!\nxzfs: \xc3\xa4 \xc2\xa0 \xff\n");
}

TEST(Log, CarriesPrioritiesWhenStderrIsTheJournal) {
  CapturedStderr captured;
  struct stat st;
  ASSERT_EQ(fstat(STDERR_FILENO, &st), 0);
  const std::string stream = std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino);
  setenv("JOURNAL_STREAM", stream.c_str(), 1);
  LogToStderr(LogLevel::kInfo);
  Log(LogLevel::kInfo, "a");
  Log(LogLevel::kWarning, "b");
  Log(LogLevel::kError, "c");
  setenv("JOURNAL_STREAM", "1:1", 1);
  LogToStderr(LogLevel::kInfo);
  Log(LogLevel::kInfo, "d");
  unsetenv("JOURNAL_STREAM");
  EXPECT_EQ(captured.Text(), "<6>a\n<4>b\n<3>c\nxzfs: d\n");
}

TEST(Log, WritesNothingToStderrOnceItGoesToSyslog) {
  CapturedStderr captured;
  LogToSyslog(LogLevel::kError);
  Log(LogLevel::kInfo, "not for the system's log");
  EXPECT_EQ(captured.Text(), "");
}

}  // namespace
}  // namespace xzfs
