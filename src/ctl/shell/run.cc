// The first word chooses the command. It declares its options, with those that every command takes.
// The options of the environment come before those of the command line, so that the latter win. As
// one variable serves all commands, an option that this command doesn't know is left out if another
// command knows it. Then the options are parsed, and the command runs.
//
// An error that any of these steps returns is printed here, once. Standard output is flushed before
// the exit code is taken: a failure to write it is an error too. If a signal ended the command
// early, everything is in good order by then, and the process dies by that signal, as its shell
// expects.
#include "ctl/shell/run.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/spelling.h"
#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/shell/common_options.h"
#include "ctl/shell/completion.h"
#include "ctl/shell/environment.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

constexpr size_t kNameColumn = 14;

std::string HelpText() {
  std::string text =
      "usage: xzfsctl COMMAND [OPTION...] ...\n"
      "\n"
      "Works on .xz files and on mounts of xzfs.\n"
      "\n"
      "Commands:\n";
  for (const CommandEntry& entry : Commands()) {
    std::string name(entry.name);
    name.resize(std::max(kNameColumn, name.size() + 1), ' ');
    text.append("  ").append(name).append(entry.summary).append("\n");
  }
  return text +
         "\n"
         "xzfsctl COMMAND --help shows the command's options and an example.\n"
         "\n"
         "Options in the environment variables XZFS_DEFAULTS and XZFS_OPT come before those of "
         "the\n"
         "command line; each command takes those that it knows. Exit codes are xz's: 0 success, "
         "1 an\n"
         "error, 2 only warnings.\n";
}

// The kind of an option of any command, for words of the environment that this one doesn't know.
Arguments::Kind KindAnywhere(const std::string& name) {
  for (const CommandEntry& entry : Commands()) {
    Arguments arguments(entry.name, entry.summary, entry.example);
    const std::unique_ptr<Command> command = entry.make();
    command->Declare(arguments);
    CommonOptions().Declare(arguments);
    if (const auto kind = arguments.KindOf(name); kind != Arguments::Kind::kUnknown) {
      return kind;
    }
  }
  return Arguments::Kind::kUnknown;
}

Result<std::vector<std::string>> WithEnvironment(const std::vector<std::string>& words,
                                                 const Arguments& arguments) {
  std::vector<std::string> all;
  for (const char* variable : {"XZFS_DEFAULTS", "XZFS_OPT"}) {
    const char* text = std::getenv(variable);
    if (text == nullptr) {
      continue;
    }
    XZFS_ASSIGN_OR_RETURN(const std::vector<std::string> options,
                          OptionsFrom(variable, text, arguments, KindAnywhere));
    all.insert(all.end(), options.begin(), options.end());
  }
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

Status RunCommand(const CommandEntry& entry, const std::vector<std::string>& words,
                  Console& console, bool& no_warn) {
  const std::unique_ptr<Command> command = entry.make();
  Arguments arguments(entry.name, entry.summary, entry.example);
  CommonOptions common;
  command->Declare(arguments);
  common.Declare(arguments);
  XZFS_ASSIGN_OR_RETURN(std::vector<std::string> all, WithEnvironment(words, arguments));
  XZFS_RETURN_IF_ERROR(arguments.Parse(std::move(all)));
  if (arguments.wants_help()) {
    console.Print(arguments.Help());
    return {};
  }
  XZFS_RETURN_IF_ERROR(RequireLiblzma());
  console.SetQuiet(common.quiet);
  no_warn = common.no_warn;
  return command->Run(console);
}

Failure<> UnknownCommand(const std::string& word) {
  std::vector<std::string_view> names;
  for (const CommandEntry& entry : Commands()) {
    names.push_back(entry.name);
  }
  const std::string nearest(NearestWord(word, names));
  return Fail(
      EINVAL,
      "there is no command '" + word + "' (" +
          (nearest.empty() ? "xzfsctl --help lists them" : "did you mean " + nearest + "?") + ")");
}

Status Run(std::vector<std::string> words, Console& console, bool& no_warn) {
  if (!words.empty() && words[0] == "help") {
    words.erase(words.begin());
    words.push_back("--help");
  }
  if (words.empty() || words[0] == "--help" || words[0] == "-h") {
    console.Print(HelpText());
    return words.empty() ? Status(Fail(EINVAL, "no command was given")) : Status();
  }
  if (words[0] == "--version" || words[0] == "-V") {
    console.Print("xzfsctl " XZFS_VERSION "\n");
    return {};
  }
  if (words[0] == "--complete") {
    console.Print(CompleteWords({words.begin() + 1, words.end()}).Text());
    return {};
  }
  const CommandEntry* entry = FindCommand(words[0]);
  if (entry == nullptr) {
    return UnknownCommand(words[0]);
  }
  return RunCommand(*entry, {words.begin() + 1, words.end()}, console, no_warn);
}

// A shell stops a loop if SIGINT ended the program in it, but not if the program only exits with an
// error.
void DieBy(int number) {
  signal(number, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, number);
  raise(number);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

int RunCtl(const std::vector<std::string>& arguments) {
  Console console;
  bool no_warn = false;
  if (const Status status = Run(arguments, console, no_warn); !status) {
    console.Error(status.error().message);
  }
  console.Flush();
  if (console.signal() != 0) {
    DieBy(console.signal());
  }
  constexpr int kWarnings = 2;
  const int code = console.exit_code();
  return code == kWarnings && no_warn ? 0 : code;
}

}  // namespace xzfs
