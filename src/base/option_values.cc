#include "base/option_values.h"

#include <array>
#include <utility>

namespace xzfs {
namespace {

constexpr std::array<std::string_view, 7> kLiveOptions = {
    "cache_size", "compress_threads", "settle", "preset", "min_saving", "idle", "log_level"};

constexpr std::pair<std::string_view, std::string_view> kValues[] = {
    {"cache_size", "64MiB 256MiB 1GiB 4GiB"},
    {"threads", "1 2 4 8"},
    {"whole_block_limit", "4MiB 16MiB 32MiB"},
    {"verify", "block stream"},
    {"restart_file_size", "0 1GiB 4GiB"},
    {"attr_timeout", "0 1 60"},
    {"entry_timeout", "0 1 60"},
    {"compress", "close cold off"},
    {"cold_after", "12h 7d 30d 90d 1y"},
    {"preset", "0 1 2 3 4 5 6 7 8 9 0e 1e 2e 3e 4e 5e 6e 7e 8e 9e"},
    {"block_size", "64KiB 256KiB 1MiB 4MiB 16MiB"},
    {"check", "none crc32 crc64 sha256"},
    {"settle", "0 1 10 60"},
    {"min_size", "1 4KiB 64KiB"},
    {"min_saving", "0 1 5 10 20"},
    {"compress_threads", "1 2 4 8"},
    {"idle", "0 5m 10m 30m 1h"},
    {"log_level", "debug info warning error"}};

}  // namespace

std::span<const std::string_view> LiveOptionNames() { return kLiveOptions; }

std::string_view OptionValues(std::string_view option) {
  for (const auto& [name, values] : kValues) {
    if (name == option) {
      return values;
    }
  }
  return {};
}

}  // namespace xzfs
