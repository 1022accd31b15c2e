#include "ctl/report/report_commands.h"

#include <fmt/core.h>
#include <utf8.h>

#include <cctype>
#include <cstdint>
#include <vector>

namespace xzfs {
namespace {

// Characters that a program may change when they are copied: blanks of other widths, soft hyphens,
// marks without a width.
bool IsFragile(uint32_t character) {
  return character < 0x20 || (character >= 0x7F && character <= 0xA0) || character == 0xAD ||
         character == 0x61C || character == 0x1680 || character == 0x180E ||
         (character >= 0x2000 && character <= 0x206F) || character == 0x3000 ||
         (character >= 0xFE00 && character <= 0xFE0F) || character == 0xFEFF;
}

bool NeedsEscapes(std::string_view text) {
  if (!utf8::is_valid(text.begin(), text.end())) {
    return true;
  }
  for (const char* at = text.data(); at < text.data() + text.size();) {
    if (IsFragile(utf8::unchecked::next(at))) {
      return true;
    }
  }
  return false;
}

std::string WithEscapes(std::string_view text) {
  std::string word = "$'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\'' || c == '\\') {
      word += '\\';
      word += c;
    } else if (byte < 0x20 || byte >= 0x7F) {
      // Three octal digits: a hexadecimal escape would take digits that follow it.
      word += fmt::format("\\{:03o}", byte);
    } else {
      word += c;
    }
  }
  return word + "'";
}

// `text` as a pattern of fnmatch(3) that matches nothing else.
std::string GlobOf(std::string_view text) {
  std::string glob;
  for (const char c : text) {
    if (c == '*' || c == '?' || c == '[' || c == '\\') {
      glob += '\\';
    }
    glob += c;
  }
  return glob;
}

// The words with which find(1) chooses the files of a kind.
std::string FindTest(const KindName& kind, bool is_rotated) {
  const std::string glob = GlobOf(kind.text);
  // A number or a date, with what stands before it.
  const std::string rotated = glob + "[-._]*[0-9]";
  switch (kind.form) {
    case KindName::Form::kNone:
      break;
    case KindName::Form::kEnding:
      if (!is_rotated) {
        return "-iname " + ShellWord("*" + glob);
      }
      return "\\( -iname " + ShellWord("*" + glob) + " -o -iname " + ShellWord("*" + rotated) +
             " \\)";
    case KindName::Form::kSeries:
      return "\\( -name " + ShellWord(glob) + " -o -name " + ShellWord(rotated) + " \\)";
  }
  return "! -name " + ShellWord("*.*");
}

}  // namespace

std::string ShellWord(std::string_view text) {
  if (NeedsEscapes(text)) {
    return WithEscapes(text);
  }
  constexpr std::string_view kHarmless = "/._-+,:@%";
  bool is_harmless = !text.empty() && text[0] != '-';
  std::string word = "'";
  for (const char c : text) {
    is_harmless = is_harmless && (std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                                  kHarmless.find(c) != std::string_view::npos);
    if (c == '\'') {
      word += "'\\''";
    } else {
      word += c;
    }
  }
  return is_harmless ? std::string(text) : word + "'";
}

std::string PackKindCommand(const std::string& root, const KindName& kind, bool is_rotated) {
  return "find " + ShellWord(root) + " -xdev -name .xzfs -prune -o -type f " +
         FindTest(kind, is_rotated) + " -exec xzfsctl pack {} +";
}

}  // namespace xzfs
