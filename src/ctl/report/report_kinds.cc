#include "ctl/report/report_kinds.h"

#include <cctype>
#include <unordered_map>

namespace xzfs {
namespace {

// Longer ones are no endings: they are a part of the name that has a dot before it.
constexpr size_t kLongestEnding = 12;
// A date as logrotate writes it, 20260131, or with the hour or seconds since 1970. Shorter numbers
// behind a hyphen are versions or parts of a name.
constexpr size_t kLeastDateDigits = 8;
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kDateWithHyphens = "dddd-dd-dd";

std::string EndingOf(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || name.size() - dot > kLongestEnding) {
    return "";
  }
  std::string ending = ".";
  for (const char c : name.substr(dot + 1)) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
      return "";
    }
    ending += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return ending.size() == 1 ? "" : ending;
}

bool IsSeparator(char c) { return c == '.' || c == '-' || c == '_'; }

// How many bytes at the end of `name` are a number or a date with its separator; 0: none.
size_t RotationMark(std::string_view name) {
  const size_t size = kDateWithHyphens.size();
  if (name.size() > size && IsSeparator(name[name.size() - size - 1])) {
    const std::string_view end = name.substr(name.size() - size);
    bool is_date = true;
    for (size_t i = 0; i < size; ++i) {
      const bool is_digit = kDigits.find(end[i]) != std::string_view::npos;
      is_date = is_date && (kDateWithHyphens[i] == 'd' ? is_digit : end[i] == '-');
    }
    if (is_date) {
      return size + 1;
    }
  }
  const size_t separator = name.find_last_not_of(kDigits);
  if (separator == std::string_view::npos || separator + 1 == name.size()) {
    return 0;
  }
  const size_t digits = name.size() - separator - 1;
  const bool is_mark =
      name[separator] == '.' || (IsSeparator(name[separator]) && digits >= kLeastDateDigits);
  return is_mark ? digits + 1 : 0;
}

}  // namespace

std::string_view RotationStem(std::string_view name) {
  for (;;) {
    const size_t mark = RotationMark(name);
    if (mark == 0 || mark >= name.size()) {
      return name;
    }
    name.remove_suffix(mark);
  }
}

bool IsRotated(std::string_view name, const KindName& kind) {
  return kind.form == KindName::Form::kEnding && EndingOf(name) != kind.text;
}

DirectoryKinds::DirectoryKinds(const std::vector<std::string>& names) {
  struct Found {
    unsigned files = 0;
    bool is_rotated = false;
  };
  std::unordered_map<std::string_view, Found> stems;
  for (const std::string& name : names) {
    const std::string_view stem = RotationStem(name);
    if (EndingOf(stem).empty()) {
      Found& found = stems[stem];
      ++found.files;
      found.is_rotated = found.is_rotated || stem.size() != name.size();
    }
  }
  for (const auto& [stem, found] : stems) {
    if (found.is_rotated && found.files > 1) {
      series_.emplace(stem);
    }
  }
}

KindName DirectoryKinds::Of(const std::string& name) const {
  const std::string stem(RotationStem(name));
  std::string ending = EndingOf(stem);
  if (ending.empty() && series_.contains(stem)) {
    return {.form = KindName::Form::kSeries, .text = stem};
  }
  if (ending.empty()) {
    ending = EndingOf(name);
  }
  if (ending.empty()) {
    return {};
  }
  return {.form = KindName::Form::kEnding, .text = ending};
}

}  // namespace xzfs
