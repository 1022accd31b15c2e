// What a shell offers while a user types a command.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace xzfs {

// The answer of `xzfs --complete WORD...` and `xzfsctl --complete WORD...`: what may stand for the
// last word, which is being typed and may be empty. The shells leave out what does not begin as
// that word does.
struct Completion {
  // What to offer besides words.
  enum class Paths { kNone, kFiles, kDirectories };
  struct Word {
    std::string text;
    std::string help;  // one line; may be empty
  };

  // The part of the last word that stays, such as "ro," of "ro,cache": the words come after it.
  std::string kept;
  Paths paths = Paths::kNone;
  // More of the same word may follow, so no blank is put after it. In any case none is put after
  // '='.
  bool goes_on = false;
  std::vector<Word> words;

  // Adds words that are separated by blanks, without help.
  void AddWords(std::string_view words);

  // What the scripts in packaging/completions read. The first line is `kept`. The second one is
  // "none", "files" or "directories", and "on" after it if a word goes on. Each further line is a
  // word, a tabulator and its help.
  std::string Text() const;
};

}  // namespace xzfs
