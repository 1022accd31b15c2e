// One table holds every option of xzfs. Parsing and the help text use it, and so does the search
// for the name that a misspelt option may mean. A second table has the flags of mount(8). Words
// that are for other programs are in option_words.h; they are asked for first.
//
// A default that depends on the machine, or on another option, is 0 or unset until ResolveDefaults:
// only then are all options known.
#include "fs/options.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/fail.h"
#include "base/machine.h"
#include "base/option_values.h"
#include "base/spelling.h"
#include "base/units.h"
#include "fs/option_words.h"

namespace xzfs {
namespace {

constexpr uint64_t kMaxDefaultCacheBytes = uint64_t{4} << 30;
constexpr uint64_t kMaxDefaultRestartFileBytes = uint64_t{2} << 30;
constexpr uint64_t kMaxDefaultWholeBlockBytes = uint64_t{32} << 20;
// More than any machine of today has. A larger number is a mistake, and each thread costs memory.
constexpr unsigned kMaxThreads = 1024;
// The kernel keeps the time in jiffies as a 64-bit number: ten years are safe, and always enough.
constexpr double kMaxTimeoutSeconds = 10.0 * 365 * 86400;

// The headers of smaller Blocks cost more than the Blocks save; larger Blocks need more memory than
// a daemon should use.
constexpr uint64_t kLeastBlockBytes = 4096;
constexpr uint64_t kMostBlockBytes = uint64_t{1} << 30;

// Room for "whole_block_limit=SIZE".
constexpr size_t kHelpColumn = 24;

// Joins the parts of a message.
template <class... Parts>
std::string Join(const Parts&... parts) {
  std::string message;
  (message.append(parts), ...);
  return message;
}

template <class... Parts>
Failure<> Invalid(const Parts&... parts) {
  return Fail(EINVAL, Join(parts...));
}

Failure<> CacheTooSmall(std::string_view value) {
  return Invalid("cache_size=", value, " is too small: the least is ",
                 std::to_string(kMinCacheBytes >> 20), "MiB");
}

Status SetCacheSize(std::string_view value, Options& options) {
  const Result<uint64_t> bytes = ParseSize(value);
  if (!bytes) {
    return Invalid("cache_size: ", bytes.error().message);
  }
  if (*bytes < kMinCacheBytes) {
    return CacheTooSmall(value);
  }
  options.cache_size_bytes = *bytes;
  return {};
}

Status SetWholeBlockLimit(std::string_view value, Options& options) {
  const Result<uint64_t> bytes = ParseSize(value);
  if (!bytes) {
    return Invalid("whole_block_limit: ", bytes.error().message);
  }
  if (*bytes == 0) {
    return Invalid("whole_block_limit=0 is too small: the least is 1");
  }
  options.whole_block_limit_bytes = *bytes;
  return {};
}

Status SetRestartFileSize(std::string_view value, Options& options) {
  const Result<uint64_t> bytes = ParseSize(value);
  if (!bytes) {
    return Invalid("restart_file_size: ", bytes.error().message);
  }
  options.restart_file_size_bytes = *bytes;
  return {};
}

Status SetCount(std::string_view name, std::string_view value, unsigned& count) {
  unsigned threads = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), threads);
  if (error != std::errc() || end != value.data() + value.size() || threads > kMaxThreads) {
    return Invalid(name, "=", value, " is not a number from 1 to ", std::to_string(kMaxThreads),
                   " (or 0: one per processor)");
  }
  count = threads;
  return {};
}

Status SetThreads(std::string_view value, Options& options) {
  return SetCount("threads", value, options.threads);
}

Status SetCompressThreads(std::string_view value, Options& options) {
  return SetCount("compress_threads", value, options.compress_threads);
}

Status SetVerify(std::string_view value, Options& options) {
  if (value != "block" && value != "stream") {
    return Invalid("verify=", value, " is not one of block, stream");
  }
  options.verify_stream = value == "stream";
  return {};
}

Status SetSeconds(std::string_view name, std::string_view value, double& seconds) {
  double parsed = 0;
  const auto [end, error] =
      std::from_chars(value.data(), value.data() + value.size(), parsed, std::chars_format::fixed);
  if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(parsed) ||
      parsed < 0) {
    return Invalid(name, "=", value, " is not a time in seconds, such as 1 or 0.5");
  }
  if (parsed > kMaxTimeoutSeconds) {
    return Invalid(name, "=", value, " is more than ten years");
  }
  seconds = parsed;
  return {};
}

Status SetSettle(std::string_view value, Options& options) {
  return SetSeconds("settle", value, options.settle_s);
}

Status SetAttrTimeout(std::string_view value, Options& options) {
  return SetSeconds("attr_timeout", value, options.attr_timeout_s);
}

Status SetEntryTimeout(std::string_view value, Options& options) {
  return SetSeconds("entry_timeout", value, options.entry_timeout_s);
}

Status SetAllowOther(std::string_view, Options& options) {
  options.allow_other = true;
  return {};
}

Status SetReadOnly(std::string_view, Options& options) {
  options.read_only = true;
  return {};
}

Status SetSingleClient(std::string_view, Options& options) {
  options.single_client = true;
  return {};
}

Status SetReadWrite(std::string_view, Options& options) {
  options.read_only = false;
  return {};
}

Status SetCompress(std::string_view value, Options& options) {
  constexpr std::pair<std::string_view, Compress> kWhen[] = {
      {"close", Compress::kClose}, {"cold", Compress::kCold}, {"off", Compress::kOff}};
  for (const auto& [name, when] : kWhen) {
    if (value == name) {
      options.compress = when;
      return {};
    }
  }
  return Invalid("compress=", value, " is not one of close, cold, off");
}

Status SetColdAfter(std::string_view value, Options& options) {
  const Result<double> seconds = ParseDuration(value);
  if (!seconds) {
    return Invalid("cold_after: ", seconds.error().message);
  }
  options.cold_after_s = *seconds;
  return {};
}

Status SetIdle(std::string_view value, Options& options) {
  const Result<double> seconds = ParseDuration(value);
  if (!seconds) {
    return Invalid("idle: ", seconds.error().message);
  }
  options.idle_s = *seconds;
  return {};
}

Status SetPreset(std::string_view value, Options& options) {
  const bool extreme = value.size() == 2 && value[1] == 'e';
  if (value.empty() || value.size() > 2 || value[0] < '0' || value[0] > '9' ||
      (value.size() == 2 && !extreme)) {
    return Invalid("preset=", value, " is not one of xz's: 0 to 9, with an e after it for extreme");
  }
  options.preset = static_cast<unsigned>(value[0] - '0');
  options.extreme = extreme;
  return {};
}

Status SetCheck(std::string_view value, Options& options) {
  constexpr std::pair<std::string_view, Check> kChecks[] = {{"none", Check::kNone},
                                                            {"crc32", Check::kCrc32},
                                                            {"crc64", Check::kCrc64},
                                                            {"sha256", Check::kSha256}};
  for (const auto& [name, check] : kChecks) {
    if (value == name) {
      options.check = check;
      return {};
    }
  }
  return Invalid("check=", value, " is not one of none, crc32, crc64, sha256");
}

Status SetBlockSize(std::string_view value, Options& options) {
  const Result<uint64_t> bytes = ParseSize(value);
  if (!bytes) {
    return Invalid("block_size: ", bytes.error().message);
  }
  if (*bytes < kLeastBlockBytes || *bytes > kMostBlockBytes) {
    return Invalid("block_size=", value, " is not between 4KiB and 1GiB");
  }
  options.block_size_bytes = *bytes;
  return {};
}

Status SetMinSize(std::string_view value, Options& options) {
  const Result<uint64_t> bytes = ParseSize(value);
  if (!bytes) {
    return Invalid("min_size: ", bytes.error().message);
  }
  options.min_size_bytes = *bytes;
  return {};
}

Status SetMinSaving(std::string_view value, Options& options) {
  const std::string_view number = value.substr(0, value.size() - (value.ends_with('%') ? 1 : 0));
  double percent = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), percent,
                                            std::chars_format::fixed);
  if (error != std::errc() || end != number.data() + number.size() || !(percent >= 0) ||
      percent > 100) {
    return Invalid("min_saving=", value, " is not a percentage from 0 to 100");
  }
  options.min_saving_percent = percent;
  return {};
}

Status SetSyncClose(std::string_view, Options& options) {
  options.sync_close = true;
  return {};
}

Status AddExclude(std::string_view value, Options& options) {
  options.excludes.emplace_back(value);
  return {};
}

constexpr std::pair<std::string_view, LogLevel> kLogLevels[] = {{"debug", LogLevel::kDebug},
                                                                {"info", LogLevel::kInfo},
                                                                {"warning", LogLevel::kWarning},
                                                                {"error", LogLevel::kError}};

Status SetLevelOfLog(std::string_view value, Options& options) {
  for (const auto& [name, level] : kLogLevels) {
    if (value == name) {
      options.log_level = level;
      return {};
    }
  }
  return Invalid("log_level=", value, " is not one of debug, info, warning, error");
}

Status SetAcl(std::string_view, Options& options) {
  options.acl = true;
  return {};
}

Status SetNoAcl(std::string_view, Options& options) {
  options.acl = false;
  return {};
}

Status RefuseRemount(std::string_view, Options&) {
  return Invalid("remount is not possible: unmount, then mount with the new options");
}

struct Key {
  std::string_view name;
  std::string_view value;  // what the help calls its value; empty: it takes none
  Status (*apply)(std::string_view value, Options& options);
  std::string_view help;  // empty: the help leaves the option out
};

constexpr Key kKeys[] = {
    {"cache_size", "SIZE", SetCacheSize,
     "memory for decoded data and decoders together\n"
     "(default: a quarter of the memory, 32MiB to 4GiB)"},
    {"threads", "N", SetThreads, "Blocks decoded at once (default: one per processor)"},
    {"whole_block_limit", "SIZE", SetWholeBlockLimit,
     "Blocks up to this size are decoded whole and verified first\n"
     "(default: 32MiB or an eighth of cache_size)"},
    {"verify", "WHEN", SetVerify, "block: verify before reads return (default); stream: after"},
    {"restart_file_size", "SIZE", SetRestartFileSize,
     "temporary file for giant Blocks; 0: none (default: up to 2GiB)"},
    {"attr_timeout", "SEC", SetAttrTimeout,
     "how long the kernel may cache attributes (default: 1)"},
    {"entry_timeout", "SEC", SetEntryTimeout, "how long the kernel may cache names (default: 1)"},
    {"allow_other", "", SetAllowOther, "let other users use the mount, each with their own rights"},
    {"ro", "", SetReadOnly, "read-only"},
    {"rw", "", SetReadWrite, ""},
    {"single_client", "", SetSingleClient,
     "write to a source on FUSE or a network; no other machine may"},
    {"compress", "WHEN", SetCompress,
     "close: files that were written, after the close (default);\n"
     "cold: files that were not used for cold_after; off: never"},
    {"cold_after", "TIME", SetColdAfter, "30d (default), 12h, 90s, ...: see compress=cold"},
    {"preset", "N", SetPreset, "xz's preset, 0 to 9, with an e for extreme (default: 6)"},
    {"block_size", "SIZE", SetBlockSize, "plain bytes in a Block that is written (default: 1MiB)"},
    {"check", "NAME", SetCheck, "none, crc32, crc64 (default) or sha256"},
    {"settle", "SEC", SetSettle, "compress a file this long after its close (default: 1)"},
    {"sync_close", "", SetSyncClose, "close waits until the file is compressed"},
    {"exclude", "GLOB", AddExclude, "files that stay plain; may be given several times"},
    {"min_size", "SIZE", SetMinSize, "smaller files stay plain (default: 1, so only empty ones)"},
    {"min_saving", "PERCENT", SetMinSaving,
     "files that would shrink by less stay plain (default: 1; 0: none)"},
    {"compress_threads", "N", SetCompressThreads,
     "Blocks encoded at once (default: one per processor)"},
    {"idle", "TIME", SetIdle, "unmount after 10m, 1h, ... without use (default: 0, never)"},
    {"log_level", "LEVEL", SetLevelOfLog, "debug, info (default), warning or error"},
    {"acl", "", SetAcl, "POSIX ACLs (default); noacl turns them off"},
    {"noacl", "", SetNoAcl, ""},
    {"remount", "", RefuseRemount, ""},
};

// Mount flags: the word, the flag that it adds to Options::mount_flags and the flag that it
// removes.
struct Flag {
  std::string_view name;
  std::string_view adds;
  std::string_view removes;
};

constexpr Flag kFlags[] = {
    {"nosuid", "nosuid", "suid"},
    {"suid", "suid", "nosuid"},
    {"nodev", "nodev", "dev"},
    {"dev", "dev", "nodev"},
    {"noexec", "noexec", ""},
    {"exec", "", "noexec"},
    {"sync", "", ""},
    {"async", "", ""},
    {"dirsync", "", ""},
    {"atime", "", ""},
    {"noatime", "", ""},
    {"diratime", "", ""},
    {"nodiratime", "", ""},
    {"relatime", "", ""},
    {"norelatime", "", ""},
    {"strictatime", "", ""},
    {"nostrictatime", "", ""},
    {"lazytime", "", ""},
    {"nolazytime", "", ""},
    {"default_permissions", "", ""},
};

Failure<> UnknownOption(std::string_view option) {
  const std::string nearest = NearestOption(option);
  const std::string_view name = option.substr(0, option.find('='));
  if (nearest.empty()) {
    return Fail(ENOENT, Join("unknown option '", name, "' (xzfs -h lists the options)"));
  }
  return Fail(ENOENT, Join("unknown option '", name, "' (did you mean ", nearest, "?)"));
}

void ApplyFlag(const Flag& flag, Options& options) {
  std::vector<std::string>& flags = options.mount_flags;
  std::erase(flags, flag.adds);
  std::erase(flags, flag.removes);
  if (!flag.adds.empty()) {
    flags.emplace_back(flag.adds);
  }
}

}  // namespace

std::string_view LogLevelName(LogLevel level) {
  for (const auto& [name, known] : kLogLevels) {
    if (level == known) {
      return name;
    }
  }
  return "";
}

std::string NearestOption(std::string_view option) {
  std::vector<std::string_view> known;
  for (const Key& key : kKeys) {
    known.push_back(key.name);
  }
  for (const Flag& flag : kFlags) {
    known.push_back(flag.name);
  }
  return std::string(NearestWord(option.substr(0, option.find('=')), known));
}

Status ApplyOption(std::string_view option, Options& options) {
  const size_t equals = option.find('=');
  const bool has_value = equals != std::string_view::npos;
  const std::string_view name = option.substr(0, equals);
  const std::string_view value = has_value ? option.substr(equals + 1) : std::string_view();
  if (IsForOthers(name)) {
    return {};
  }
  if (const std::string_view advice = AdviceFor(name); !advice.empty()) {
    return Fail(ENOENT, Join("there is no option ", name, ": ", advice));
  }
  for (const Key& key : kKeys) {
    if (key.name != name) {
      continue;
    }
    if (key.value.empty() && has_value) {
      return Invalid("option ", name, " takes no value");
    }
    if (!key.value.empty() && value.empty()) {
      return Invalid("option ", name, " needs a value: ", name, "=", key.value);
    }
    return key.apply(value, options);
  }
  for (const Flag& flag : kFlags) {
    if (flag.name == name && !has_value) {
      ApplyFlag(flag, options);
      return {};
    }
  }
  return UnknownOption(option);
}

std::vector<std::string> SplitOptionList(std::string_view list) {
  std::vector<std::string> options;
  std::string option;
  const auto finish = [&] {
    if (!option.empty()) {
      options.push_back(std::move(option));
    }
    option.clear();
  };
  for (size_t i = 0; i < list.size(); ++i) {
    const bool escape =
        list[i] == '\\' && i + 1 < list.size() && (list[i + 1] == ',' || list[i + 1] == '\\');
    if (escape) {
      option += list[++i];
    } else if (list[i] == ',') {
      finish();
    } else {
      option += list[i];
    }
  }
  finish();
  return options;
}

Status ResolveDefaults(Options& options) {
  if (options.cache_size_bytes == 0) {
    options.cache_size_bytes =
        std::clamp(UsableMemory() / 4, kMinCacheBytes, kMaxDefaultCacheBytes);
  }
  if (options.cache_size_bytes < kMinCacheBytes) {
    return CacheTooSmall(std::to_string(options.cache_size_bytes));
  }
  if (options.threads == 0) {
    options.threads = std::min(UsableProcessors(), kMaxThreads);
  }
  if (options.compress_threads == 0) {
    options.compress_threads = std::min(UsableProcessors(), kMaxThreads);
  }
  if (options.whole_block_limit_bytes == 0) {
    options.whole_block_limit_bytes =
        std::min(kMaxDefaultWholeBlockBytes, options.cache_size_bytes / 8);
  }
  if (!options.restart_file_size_bytes) {
    options.restart_file_size_bytes =
        std::min(kMaxDefaultRestartFileBytes, FreeSpace(TemporaryFolder()) / 4);
  }
  if (options.whole_block_limit_bytes > options.cache_size_bytes) {
    return Invalid("whole_block_limit (", std::to_string(options.whole_block_limit_bytes),
                   " bytes) is larger than cache_size (", std::to_string(options.cache_size_bytes),
                   " bytes): Blocks of that size would not fit");
  }
  return {};
}

Completion CompleteOptionList(std::string_view list) {
  const size_t item = list.rfind(',') + 1;  // 0 if there is only one
  const std::string_view current = list.substr(item);
  Completion completion;
  completion.goes_on = true;
  completion.kept = list.substr(0, item);
  if (const size_t equals = current.find('='); equals != std::string_view::npos) {
    completion.kept.append(current.substr(0, equals + 1));
    completion.AddWords(OptionValues(current.substr(0, equals)));
    return completion;
  }
  for (const Key& key : kKeys) {
    if (!key.help.empty()) {
      completion.words.push_back(
          {Join(key.name, key.value.empty() ? "" : "="), std::string(key.help)});
    }
  }
  constexpr std::pair<const char*, const char*> kOpposites[] = {
      {"noacl", "no POSIX ACLs"},
      {"rw", "not read-only"},
      {"noexec", "nothing can be executed"},
      {"suid", "set-id bits have an effect"},
      {"dev", "devices have an effect"}};
  for (const auto& [name, help] : kOpposites) {
    completion.words.push_back({name, help});
  }
  return completion;
}

std::string OptionsHelp() {
  std::string text;
  for (const Key& key : kKeys) {
    if (key.help.empty()) {
      continue;
    }
    std::string left(key.name);
    if (!key.value.empty()) {
      left.append("=").append(key.value);
    }
    std::string_view help = key.help;
    while (true) {
      const size_t newline = help.find('\n');
      left.resize(std::max(left.size(), kHelpColumn), ' ');
      text.append("  ").append(left).append(help.substr(0, newline)).append("\n");
      if (newline == std::string_view::npos) {
        break;
      }
      help.remove_prefix(newline + 1);
      left.clear();
    }
  }
  return text;
}

}  // namespace xzfs
