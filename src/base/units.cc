#include "base/units.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "base/fail.h"

namespace xzfs {
namespace {

// Ten years: long enough, and safe in every unit that a time is converted to.
constexpr double kMostSeconds = 10.0 * 365 * 86400;

// The power of two that a suffix stands for. The suffixes are those of xz, and T, P and E, which
// FormatSize prints: the letter in either case, alone or followed by i, iB or B.
std::optional<unsigned> SuffixShift(std::string_view suffix) {
  if (suffix.empty()) {
    return 0;
  }
  const std::string_view rest = suffix.substr(1);
  if (!rest.empty() && rest != "i" && rest != "iB" && rest != "B") {
    return std::nullopt;
  }
  constexpr std::string_view kLetters = "KMGTPE";
  const size_t letter =
      kLetters.find(static_cast<char>(std::toupper(static_cast<unsigned char>(suffix[0]))));
  return letter == std::string_view::npos
             ? std::nullopt
             : std::optional<unsigned>(10 * (static_cast<unsigned>(letter) + 1));
}

// How many seconds a unit has; 0 if there is no such unit.
double UnitSeconds(std::string_view unit) {
  if (unit.empty() || unit == "s") {
    return 1;
  }
  constexpr std::pair<char, double> kUnits[] = {
      {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 7.0 * 86400}, {'y', 365.0 * 86400}};
  for (const auto& [letter, seconds] : kUnits) {
    if (unit.size() == 1 && unit[0] == letter) {
      return seconds;
    }
  }
  return 0;
}

Failure<> Invalid(std::string_view text, const char* why) {
  return Fail(EINVAL, "'" + std::string(text) + "' " + why);
}

}  // namespace

Result<uint64_t> ParseSize(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::optional<unsigned> shift =
      SuffixShift(text.substr(static_cast<size_t>(end - text.data())));
  if (error == std::errc::invalid_argument || !shift) {
    return Invalid(text, "is not a size, such as 512MiB or 2TiB");
  }
  if (error != std::errc() || number > (std::numeric_limits<uint64_t>::max() >> *shift)) {
    return Invalid(text, "is too large a size");
  }
  return number << *shift;
}

Result<double> ParseDuration(std::string_view text) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  const double unit = UnitSeconds(text.substr(static_cast<size_t>(end - text.data())));
  if (error != std::errc() || unit == 0 || !std::isfinite(number) || number < 0) {
    return Invalid(text, "is not a time, such as 90s, 12h or 30d");
  }
  if (number * unit > kMostSeconds) {
    return Invalid(text, "is too long a time: at most ten years");
  }
  return number * unit;
}

std::string FormatSize(uint64_t bytes) {
  constexpr uint64_t kMostPlain = 9999;
  if (bytes <= kMostPlain) {
    return std::to_string(bytes) + " B";
  }
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double number = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // A number that would be shown as 1024.0 is shown as 1.0 of the next unit.
  while (number >= 1023.95 && unit + 1 < kUnits.size()) {
    number /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", number, kUnits[unit]);
  return text;
}

std::string Counted(uint64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string FormatDuration(double seconds) {
  const auto whole = static_cast<uint64_t>(std::clamp(std::round(seconds), 0.0, 1e15));
  char text[32];
  if (whole < 60) {
    std::snprintf(text, sizeof text, "%u s", static_cast<unsigned>(whole));
  } else if (whole < 3600) {
    std::snprintf(text, sizeof text, "%u:%02u min", static_cast<unsigned>(whole / 60),
                  static_cast<unsigned>(whole % 60));
  } else if (whole < 86400) {
    std::snprintf(text, sizeof text, "%u:%02u h", static_cast<unsigned>(whole / 3600),
                  static_cast<unsigned>(whole / 60 % 60));
  } else {
    std::snprintf(text, sizeof text, "%llu d", static_cast<unsigned long long>(whole / 86400));
  }
  return text;
}

}  // namespace xzfs
