#include "store/names.h"

#include <climits>

namespace xzfs {
namespace {

struct Rule {
  std::string_view stored;   // suffix of the stored name
  std::string_view logical;  // what replaces it
  Suffix suffix;
};

// In order of importance, if several are stored for one logical name.
constexpr Rule kRules[] = {
    {".xz", "", Suffix::kXz}, {".txz", ".tar", Suffix::kTxz}, {".lzma", "", Suffix::kLzma},
    {".lz", "", Suffix::kLz}, {".tlz", ".tar", Suffix::kTlz},
};

}  // namespace

std::optional<StrippedName> StripSuffix(std::string_view stored) {
  for (const Rule& rule : kRules) {
    if (!stored.ends_with(rule.stored)) {
      continue;
    }
    const std::string_view stem = stored.substr(0, stored.size() - rule.stored.size());
    if (stem.empty() || stem == "." || stem == "..") {
      return std::nullopt;
    }
    std::string logical(stem);
    logical += rule.logical;
    if (logical.size() > NAME_MAX) {
      return std::nullopt;
    }
    return StrippedName{std::move(logical), rule.suffix};
  }
  return std::nullopt;
}

std::vector<std::string> CompressedNamesOf(std::string_view logical) {
  std::vector<std::string> names;
  for (const Rule& rule : kRules) {
    if (!logical.ends_with(rule.logical) || logical.size() == rule.logical.size()) {
      continue;
    }
    std::string name(logical.substr(0, logical.size() - rule.logical.size()));
    name += rule.stored;
    if (name.size() <= NAME_MAX) {
      names.push_back(std::move(name));
    }
  }
  return names;
}

std::string PlainNameOf(std::string_view logical) {
  std::string name(logical);
  if (StripSuffix(logical) || logical.ends_with(kEscapeSuffix)) {
    name += kEscapeSuffix;
  }
  return name;
}

std::optional<std::string> StripEscape(std::string_view stored) {
  if (!stored.ends_with(kEscapeSuffix)) {
    return std::nullopt;
  }
  std::string stem(stored.substr(0, stored.size() - kEscapeSuffix.size()));
  if (PlainNameOf(stem) != stored) {
    return std::nullopt;
  }
  return stem;
}

std::string CompressedNameOf(std::string_view logical, Format format) {
  std::string name(logical);
  switch (format) {
    case Format::kLzip:
      return name += ".lz";
    case Format::kLzmaAlone:
      return name += ".lzma";
    case Format::kXz:
    case Format::kRaw:
    case Format::kAuto:
      break;
  }
  return name += ".xz";
}

std::optional<std::string> StripLinkTarget(std::string_view target) {
  constexpr std::string_view kXzSuffix = ".xz";
  if (!target.ends_with(kXzSuffix)) {
    return std::nullopt;
  }
  const std::string_view stem = target.substr(0, target.size() - kXzSuffix.size());
  if (stem.empty() || stem.back() == '/') {
    return std::nullopt;
  }
  return std::string(stem);
}

}  // namespace xzfs
