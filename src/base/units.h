// Sizes and times as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "xzfs/result.h"

namespace xzfs {

// Parses a size in bytes: "64", "64KiB", "1Gi", "10M" and so on, with every suffix that xz accepts,
// and with T, P and E. All are powers of 1024. Errors: EINVAL with a one-line message.
Result<uint64_t> ParseSize(std::string_view text);

// Parses a time in seconds: "90", "90s", "15m", "12h", "30d", "2w", "1y" (365 days), with a
// fraction if need be, up to ten years. Errors: EINVAL with a one-line message.
Result<double> ParseDuration(std::string_view text);

// "184 B", "23.4 KiB", "1.7 GiB": three to five digits, for people.
std::string FormatSize(uint64_t bytes);

// "1 file", "2 files", for a `noun` that has a plural with s.
std::string Counted(uint64_t count, const std::string& noun);

// "8 s", "3:07 min", "2:15 h", "4 d": for people.
std::string FormatDuration(double seconds);

}  // namespace xzfs
