// getopt_long splits the line into letters and words; fs/options parses what follows -o.
// This file writes the messages itself: a wrong option gets one line. The whole help text would
// hide the reason.
#include "main/command_line.h"

#include <getopt.h>

#include <cerrno>
#include <string_view>

#include "base/try.h"

namespace xzfs {
namespace {

constexpr option kLongOptions[] = {
    {"help", no_argument, nullptr, 'h'},
    {"version", no_argument, nullptr, 'V'},
    {nullptr, 0, nullptr, 0},
};

// The leading colon makes getopt tell a missing value from an unknown letter.
constexpr char kOwnLetters[] = ":fdso:hV";
constexpr char kHelperLetters[] = ":fsnvN:o:t:hV";

constexpr char kSeeHelp[] = " (xzfs -h lists the options)";

bool IsMountHelper(std::string_view program) {
  const size_t slash = program.rfind('/');
  return program.substr(slash == std::string_view::npos ? 0 : slash + 1).starts_with("mount.");
}

// Letters and -o words before they are applied: `-s` makes unknown options acceptable, and it may
// come last.
struct Collected {
  std::vector<std::string> words;
  std::vector<std::string> positionals;
  bool sloppy = false;
};

// Applies a letter with the meaning that mount(8) gives it, where that differs from ours.
void ApplyHelperLetter(int letter, const std::string& value, CommandLine& line,
                       Collected& collected) {
  switch (letter) {
    case 'f':
      line.action = CommandLine::Action::kNothing;
      break;
    case 's':
      collected.sloppy = true;
      break;
    case 'N':
      line.mount_namespace = value;
      break;
    default:
      // -n: don't write /etc/mtab, which no program writes any more. -v: xzfs has nothing more to
      // say. -t: always xzfs's own type.
      break;
  }
}

void ApplyOwnLetter(int letter, CommandLine& line) {
  switch (letter) {
    case 'f':
      line.foreground = true;
      break;
    case 'd':
      line.debug = true;
      line.foreground = true;
      break;
    default:  // 's'
      line.single_threaded = true;
      break;
  }
}

// The error for the word or letter that getopt met last. After the last letter of a word getopt has
// already moved on to the next word.
Failure<> UnknownLetter(const std::vector<char*>& words, int letter) {
  std::string word = words[static_cast<size_t>(optind) - 1];
  if (word.starts_with("--")) {
    const std::string nearest = NearestOption(word.substr(2));
    return Fail(EINVAL, "unknown option '" + word + "'" +
                            (nearest.empty() ? kSeeHelp : " (did you mean -o " + nearest + "?)"));
  }
  if (!word.starts_with('-') || !word.ends_with(static_cast<char>(letter))) {
    word = words[static_cast<size_t>(optind)];
  }
  const std::string as_option = word.substr(1);
  if (Options ignored; ApplyOption(as_option, ignored)) {
    return Fail(EINVAL, "unknown option '" + word + "' (did you mean -o " + as_option + "?)");
  }
  return Fail(EINVAL,
              std::string("unknown option '-") + static_cast<char>(letter) + "'" + kSeeHelp);
}

// Fills `line` and `collected` from the letters. Ends early at -h and -V.
Status CollectLetters(std::vector<std::string> argv, bool helper, CommandLine& line,
                      Collected& collected) {
  std::vector<char*> pointers;
  pointers.reserve(argv.size() + 1);
  for (std::string& argument : argv) {
    pointers.push_back(argument.data());
  }
  const int count = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  optind = 0;  // makes glibc start again
  opterr = 0;
  while (true) {
    const int letter = getopt_long(count, pointers.data(), helper ? kHelperLetters : kOwnLetters,
                                   kLongOptions, nullptr);
    if (letter == -1) {
      break;
    }
    switch (letter) {
      case 'o':
        for (std::string& word : SplitOptionList(optarg)) {
          collected.words.push_back(std::move(word));
        }
        break;
      case 'h':
        line.action = CommandLine::Action::kHelp;
        return {};
      case 'V':
        line.action = CommandLine::Action::kVersion;
        return {};
      case ':':
        return Fail(EINVAL, std::string("option -") + static_cast<char>(optopt) + " needs a value");
      case '?':
        return UnknownLetter(pointers, optopt);
      default:
        if (helper) {
          ApplyHelperLetter(letter, optarg == nullptr ? "" : optarg, line, collected);
        } else {
          ApplyOwnLetter(letter, line);
        }
        break;
    }
  }
  for (int i = optind; i < count; ++i) {
    collected.positionals.emplace_back(pointers[static_cast<size_t>(i)]);
  }
  return {};
}

Status ApplyWords(const Collected& collected, CommandLine& line) {
  for (const std::string& word : collected.words) {
    if (Status applied = ApplyOption(word, line.options); !applied) {
      if (collected.sloppy && applied.error().code == ENOENT) {
        continue;
      }
      return applied;
    }
  }
  return {};
}

}  // namespace

Result<CommandLine> ParseCommandLine(const std::vector<std::string>& argv, bool by_root) {
  CommandLine line;
  Collected collected;
  const bool helper = !argv.empty() && IsMountHelper(argv[0]);
  if (helper && by_root) {
    // mount(8) doesn't pass suid and dev on, because they are its defaults.
    line.options.mount_flags = {"suid", "dev"};
    line.inherits_flags = true;
  }
  XZFS_RETURN_IF_ERROR(CollectLetters(argv, helper, line, collected));
  if (line.action == CommandLine::Action::kHelp || line.action == CommandLine::Action::kVersion) {
    return line;
  }
  XZFS_RETURN_IF_ERROR(ApplyWords(collected, line));
  const std::vector<std::string>& names = collected.positionals;
  if (names.size() > 2) {
    return Fail(EINVAL, "unexpected argument '" + names[2] + "' after SOURCE and MOUNTPOINT");
  }
  if (names.size() < 2 || names[0].empty() || names[1].empty()) {
    return Fail(EINVAL, "usage: xzfs SOURCE MOUNTPOINT [-o option[,option...]] (see xzfs -h)");
  }
  line.source = names[0];
  line.mountpoint = names[1];
  return line;
}

std::string HelpText() {
  return "usage: xzfs SOURCE MOUNTPOINT [-fds] [-o option[,option...]]\n"
         "\n"
         "Mounts the directory SOURCE on MOUNTPOINT, with each NAME.xz shown as the plain NAME.\n"
         "\n"
         "  -f  stay in the foreground, log to stderr\n"
         "  -d  like -f, and also log every request\n"
         "  -s  answer requests one after the other\n"
         "  -o  options of the mount, separated by commas\n"
         "  -h  this help\n"
         "  -V  the version\n"
         "\n"
         "Options:\n" +
         OptionsHelp() +
         "SIZE takes KiB to TiB. nosuid and nodev are set unless suid or dev is given.\n"
         "\n"
         "Example:\n"
         "  xzfs /srv/logs.xz /srv/logs -o cache_size=512MiB,allow_other\n"
         "  xzfsctl umount --wait /srv/logs\n";
}

std::string VersionText() {
  return "xzfs " XZFS_VERSION "\nbuilt with liblzma " XZFS_LIBLZMA_VERSION
         " and libfuse " XZFS_LIBFUSE_VERSION "\n";
}

}  // namespace xzfs
