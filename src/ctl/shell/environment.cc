#include "ctl/shell/environment.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>

#include "base/fail.h"

namespace xzfs {
namespace {

std::deque<std::string> Words(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\n";
  std::deque<std::string> words;
  for (size_t at = text.find_first_not_of(kBlanks); at != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = text.find_first_not_of(kBlanks, end);
  }
  return words;
}

// One option of a word, and what is left of the word: "-9e" -> "-9", "e".
std::pair<std::string, std::string> SplitWord(const std::string& word) {
  if (word.starts_with("--")) {
    const size_t equals = std::min(word.find('='), word.size());
    return {word.substr(0, equals), word.substr(equals)};
  }
  return {word.substr(0, 2), word.size() > 2 ? word.substr(2) : std::string()};
}

}  // namespace

Result<std::vector<std::string>> OptionsFrom(
    std::string_view variable, std::string_view text, const Arguments& arguments,
    const std::function<Arguments::Kind(const std::string&)>& elsewhere) {
  using Kind = Arguments::Kind;
  std::vector<std::string> options;
  for (std::deque<std::string> words = Words(text); !words.empty();) {
    const std::string word = words.front();
    words.pop_front();
    const auto [name, rest] = SplitWord(word);
    const bool is_option = name.size() > 1 && name[0] == '-';
    const Kind own = is_option ? arguments.KindOf(name) : Kind::kUnknown;
    const Kind kind = own == Kind::kUnknown && is_option ? elsewhere(name) : own;
    if (kind == Kind::kUnknown) {
      return Fail(EINVAL,
                  std::string(variable) + ": '" + word + "' is not an option of any command");
    }
    std::vector<std::string> taken = {name};
    if (kind == Kind::kFlag && !rest.empty() && !name.starts_with("--")) {
      words.push_front("-" + rest);
    } else if (!rest.empty()) {
      taken = {word};
    } else if (kind == Kind::kWithValue && !words.empty()) {
      taken.push_back(words.front());
      words.pop_front();
    }
    if (own != Kind::kUnknown) {
      options.insert(options.end(), taken.begin(), taken.end());
    }
  }
  return options;
}

}  // namespace xzfs
