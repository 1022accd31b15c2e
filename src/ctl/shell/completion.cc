// The command declares what it takes, as for its help. So each option has its text and the name of
// its value, and an operand its name. These names say what to offer: MNT is a mount, SETTING is one
// of its options, SIZE and TIME have useful values, words with '|' between them are all that there
// are. Everything else may be a file.
#include "ctl/shell/completion.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "base/mount_table.h"
#include "base/option_values.h"
#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/mounts/mount_settings.h"
#include "ctl/mounts/question.h"
#include "ctl/shell/common_options.h"
#include "ctl/shell/json.h"

namespace xzfs {
namespace {

// A user who presses the key waits.
constexpr std::chrono::milliseconds kPatience{500};

constexpr std::string_view kSizes = "4KiB 64KiB 1MiB 16MiB 1GiB";
constexpr std::string_view kTimes = "1s 10s 1m 1h 12h 7d 30d 1y";
constexpr std::string_view kPercents = "1 5 10";
constexpr std::string_view kNumbers = "1 2 4 8";

Completion CommandNames() {
  Completion completion;
  for (const CommandEntry& entry : Commands()) {
    completion.words.push_back({std::string(entry.name), std::string(entry.summary)});
  }
  return completion;
}

Completion FirstWords() {
  Completion completion = CommandNames();
  completion.words.push_back({"help", "Shows the help of a command."});
  completion.words.push_back({"--help", "Lists the commands."});
  completion.words.push_back({"--version", "Shows the version."});
  return completion;
}

Completion Mounts() {
  Completion completion;
  for (const MountEntry& mount : ReadMountTable()) {
    if (mount.is_xzfs()) {
      completion.words.push_back({mount.mountpoint, "a mount of " + mount.source});
    }
  }
  if (completion.words.empty()) {
    completion.paths = Completion::Paths::kDirectories;
  }
  return completion;
}

// What the mount says of its options; an empty object if it doesn't.
Json SettingsOf(const std::string& mount) {
  const auto stats = Question([&mount]() -> Result<Json> {
                       XZFS_ASSIGN_OR_RETURN(const MountClient client, MountClient::Open(mount));
                       return client.Stats();
                     }).WaitFor(kPatience);
  const Json settings = stats && *stats ? (*stats)->value("settings", Json()) : Json();
  return settings.is_object() ? settings : Json::object();
}

Completion Settings(std::string_view current, const std::string& mount) {
  Completion completion;
  if (const size_t equals = current.find('='); equals != std::string_view::npos) {
    completion.kept = current.substr(0, equals + 1);
    completion.AddWords(OptionValues(current.substr(0, equals)));
    return completion;
  }
  const auto settings = MountSettings(SettingsOf(mount));
  for (const std::string_view name : LiveOptionNames()) {
    const auto now = std::find_if(settings.begin(), settings.end(),
                                  [&](const auto& setting) { return setting.first == name; });
    completion.words.push_back(
        {std::string(name) + "=", now == settings.end() ? "" : "now " + now->second});
  }
  return completion;
}

// For the value of an option.
Completion Values(const Arguments::Described& option) {
  Completion completion;
  const std::string& name = option.placeholder;
  if (name.find('|') != std::string::npos) {
    std::string words = name;
    std::replace(words.begin(), words.end(), '|', ' ');
    completion.AddWords(words);
  } else if (name == "SIZE") {
    const bool is_block_size =
        std::find(option.names.begin(), option.names.end(), "--block-size") != option.names.end();
    completion.AddWords(is_block_size ? OptionValues("block_size") : kSizes);
  } else if (name == "TIME") {
    completion.AddWords(kTimes);
  } else if (name == "PERCENT") {
    completion.AddWords(kPercents);
  } else if (name == "N") {
    completion.AddWords(kNumbers);
  } else {
    completion.paths = Completion::Paths::kFiles;
  }
  return completion;
}

Completion OptionNames(const std::vector<Arguments::Described>& options) {
  Completion completion;
  for (const Arguments::Described& option : options) {
    for (const std::string& name : option.names) {
      completion.words.push_back({name, option.help});
    }
  }
  return completion;
}

const Arguments::Described* Find(const std::vector<Arguments::Described>& options,
                                 const std::string& name) {
  const auto found = std::find_if(options.begin(), options.end(), [&](const auto& option) {
    return std::find(option.names.begin(), option.names.end(), name) != option.names.end();
  });
  return found == options.end() ? nullptr : &*found;
}

// The words of a command before the last one, taken apart.
struct Before {
  std::vector<std::string> operands;
  // The option whose value the last word is; null: it isn't one.
  const Arguments::Described* open = nullptr;
  bool has_end_of_options = false;
};

Before TakeApart(const std::vector<std::string>& words,
                 const std::vector<Arguments::Described>& options) {
  Before before;
  for (size_t i = 1; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (before.open != nullptr) {
      before.open = nullptr;  // this was its value
    } else if (word == "--" && !before.has_end_of_options) {
      before.has_end_of_options = true;
    } else if (word.size() > 1 && word[0] == '-' && !before.has_end_of_options) {
      const Arguments::Described* const option = Find(options, word);
      before.open = option != nullptr && !option->placeholder.empty() ? option : nullptr;
    } else {
      before.operands.push_back(word);
    }
  }
  return before;
}

Completion Operand(const Arguments& arguments, const Before& before, std::string_view current) {
  const std::vector<std::string> names = arguments.OperandNames();
  Completion completion;
  if (names.empty()) {
    return completion;
  }
  const std::string& name = names[std::min(before.operands.size(), names.size() - 1)];
  if (name == "MNT") {
    return Mounts();
  }
  if (name == "SETTING") {
    return Settings(current, before.operands.empty() ? "" : before.operands.front());
  }
  completion.paths = Completion::Paths::kFiles;
  return completion;
}

}  // namespace

Completion CompleteWords(const std::vector<std::string>& words) {
  if (words.size() < 2) {
    return FirstWords();
  }
  if (words[0] == "help") {
    return CommandNames();
  }
  const CommandEntry* const entry = FindCommand(words[0]);
  if (entry == nullptr) {
    return {};
  }
  const std::unique_ptr<Command> command = entry->make();
  Arguments arguments(entry->name, entry->summary, entry->example);
  CommonOptions common;
  command->Declare(arguments);
  common.Declare(arguments);
  const std::vector<Arguments::Described> options = arguments.Options();
  const Before before = TakeApart(words, options);
  const std::string& current = words.back();
  if (before.open != nullptr) {
    return Values(*before.open);
  }
  if (before.has_end_of_options || !current.starts_with('-')) {
    return Operand(arguments, before, current);
  }
  const size_t equals = current.find('=');
  const Arguments::Described* const option = Find(options, current.substr(0, equals));
  if (equals != std::string::npos && option != nullptr && !option->placeholder.empty()) {
    Completion completion = Values(*option);
    completion.kept = current.substr(0, equals + 1);
    return completion;
  }
  return OptionNames(options);
}

}  // namespace xzfs
