#include "base/completion.h"

#include <algorithm>

namespace xzfs {
namespace {

// A name may have a newline in it, which would end its line: such a word is left out.
bool IsOneLine(std::string_view text) {
  return text.find_first_of("\n\t") == std::string_view::npos;
}

std::string OnOneLine(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::replace(text.begin(), text.end(), '\t', ' ');
  return text;
}

}  // namespace

void Completion::AddWords(std::string_view list) {
  while (!list.empty()) {
    const size_t blank = std::min(list.find(' '), list.size());
    if (blank != 0) {
      words.push_back({std::string(list.substr(0, blank)), ""});
    }
    list.remove_prefix(std::min(blank + 1, list.size()));
  }
}

std::string Completion::Text() const {
  if (!IsOneLine(kept)) {
    return "\nnone\n";
  }
  std::string text = kept + "\n";
  switch (paths) {
    case Paths::kNone:
      text += "none";
      break;
    case Paths::kFiles:
      text += "files";
      break;
    case Paths::kDirectories:
      text += "directories";
      break;
  }
  text += goes_on ? " on\n" : "\n";
  for (const Word& word : words) {
    if (IsOneLine(word.text)) {
      text += word.text + "\t" + OnOneLine(word.help) + "\n";
    }
  }
  return text;
}

}  // namespace xzfs
