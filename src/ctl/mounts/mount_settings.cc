#include "ctl/mounts/mount_settings.h"

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>

namespace xzfs {
namespace {

// "512MiB": exact, as an option takes it.
std::string ExactSize(uint64_t bytes) {
  constexpr std::array kUnits = {"", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return std::to_string(bytes) + kUnits[unit];
}

}  // namespace

std::vector<std::pair<std::string, std::string>> MountSettings(const Json& settings) {
  std::vector<std::pair<std::string, std::string>> all;
  const auto add_number = [&](const char* name, const char* field, const auto& text) {
    if (const auto value = settings.find(field); value != settings.end() && value->is_number()) {
      all.emplace_back(name, text(value->template get<double>()));
    }
  };
  const auto plain = [](double number) { return fmt::format("{:g}", number); };
  add_number("cache_size", "cache_size_bytes",
             [](double bytes) { return ExactSize(static_cast<uint64_t>(bytes)); });
  add_number("compress_threads", "compress_threads", plain);
  add_number("settle", "settle_seconds", plain);
  add_number("preset", "preset", [&](double preset) {
    return fmt::format("{:g}{}", preset, settings.value("extreme", false) ? "e" : "");
  });
  add_number("min_saving", "min_saving_percent", plain);
  add_number("idle", "idle_seconds", plain);
  if (const auto level = settings.find("log_level");
      level != settings.end() && level->is_string()) {
    all.emplace_back("log_level", level->get<std::string>());
  }
  return all;
}

}  // namespace xzfs
