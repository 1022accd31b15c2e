#include "main/completion.h"

#include <string_view>
#include <utility>

#include "fs/options.h"

namespace xzfs {
namespace {

constexpr std::pair<const char*, const char*> kLetters[] = {
    {"-f", "stay in the foreground, log to stderr"},
    {"-d", "like -f, and also log every request"},
    {"-s", "answer requests one after the other"},
    {"-o", "options of the mount, separated by commas"},
    {"-h", "help"},
    {"-V", "the version"},
    {"--help", "help"},
    {"--version", "the version"}};

}  // namespace

Completion CompleteCommandLine(const std::vector<std::string>& words) {
  const std::string_view current = words.empty() ? std::string_view() : words.back();
  const bool is_list = words.size() > 1 && words[words.size() - 2] == "-o";
  if (is_list) {
    return CompleteOptionList(current);
  }
  if (current.starts_with("-o") && current.size() > 2) {
    Completion completion = CompleteOptionList(current.substr(2));
    completion.kept.insert(0, "-o");
    return completion;
  }
  Completion completion;
  if (current.starts_with('-')) {
    for (const auto& [letter, help] : kLetters) {
      completion.words.push_back({letter, help});
    }
  } else {
    completion.paths = Completion::Paths::kDirectories;
  }
  return completion;
}

}  // namespace xzfs
