// The recommendation compares sizes, because they are what compression is for, and then takes what
// costs least of what is nearly as small. The Block size comes first: it decides what each random
// read costs, for as long as the files exist. The preset costs time once.
#include "ctl/bench/bench_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "base/units.h"
#include "ctl/shell/table.h"

namespace xzfs {
namespace {

// How much larger files may be for quicker random reads, and for quicker encoding. Halving the
// Block size more than halves neither, so small gains are not worth large Blocks.
constexpr double kLargerForReads = 1.10;
constexpr double kLargerForSpeed = 1.05;
// Less than that is not worth a mount.
constexpr double kLeastShare = 0.02;

double Per(double amount, double of) { return of > 0 ? amount / of : 0; }

std::string Speed(double bytes_per_s) { return fmt::format("{:.1f}", bytes_per_s / 1e6); }

std::string BlockWord(uint64_t bytes) {
  return bytes >= (uint64_t{1} << 20) ? std::to_string(bytes >> 20) + "MiB"
                                      : std::to_string(bytes >> 10) + "KiB";
}

std::string Quoted(const std::string& path) {
  const bool is_simple = !path.empty() && std::all_of(path.begin(), path.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("/._-+,:@").find(c) != std::string_view::npos;
  });
  if (is_simple) {
    return path;
  }
  std::string text = "'";
  for (const char c : path) {
    text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return text + "'";
}

BenchRow RowOf(const BenchCell& cell, const BenchSample& sample, const BenchResult& result) {
  const auto parts = static_cast<double>(result.parts);
  const auto bytes = static_cast<double>(cell.bytes);
  return {.preset = cell.preset,
          .block_bytes = cell.block_bytes,
          .ratio = Per(cell.compressed, parts),
          .saved_share = Per(Per(cell.saved, parts) * static_cast<double>(sample.data_bytes),
                             static_cast<double>(sample.allocated_bytes)),
          .encode_bytes_per_s = Per(bytes, cell.encode_cpu_s),
          .encode_bytes_per_s_all = Per(bytes * result.threads, cell.encode_s),
          .decode_bytes_per_s = Per(bytes, cell.decode_cpu_s),
          .read_s = Per(cell.read_s, parts)};
}

}  // namespace

BenchReport::BenchReport(const BenchSample& sample, const BenchResult& result)
    : sample_(sample), result_(result) {
  for (const BenchCell& cell : result.cells) {
    if (result.parts != 0) {
      rows_.push_back(RowOf(cell, sample, result));
    }
  }
}

// REQUIRES: there is such a row.
const BenchRow& BenchReport::At(unsigned preset, uint64_t block_bytes) const {
  return *std::find_if(rows_.begin(), rows_.end(), [&](const BenchRow& row) {
    return row.preset == preset && row.block_bytes == block_bytes;
  });
}

BenchAdvice BenchReport::Advise() const {
  if (rows_.empty()) {
    return {std::nullopt, "Nothing was measured, so there is nothing to recommend."};
  }
  const BenchRow& smallest =
      *std::min_element(rows_.begin(), rows_.end(),
                        [](const BenchRow& a, const BenchRow& b) { return a.ratio < b.ratio; });
  const BenchRow& best = *std::max_element(
      rows_.begin(), rows_.end(),
      [](const BenchRow& a, const BenchRow& b) { return a.saved_share < b.saved_share; });
  if (best.saved_share < kLeastShare) {
    return {std::nullopt,
            fmt::format("Leave these files as they are: the best would save {:.1f} % of what they "
                        "take.",
                        std::max(0.0, best.saved_share) * 100)};
  }
  // Rows are in the order of presets and Block sizes: the first that fits is the one.
  const BenchRow* row = &smallest;
  for (const BenchRow& smaller : rows_) {
    if (smaller.preset == smallest.preset && smaller.ratio <= smallest.ratio * kLargerForReads) {
      row = &smaller;
      break;
    }
  }
  const double most = row->ratio * kLargerForSpeed;
  for (const BenchRow& quicker : rows_) {
    if (quicker.block_bytes == row->block_bytes && quicker.ratio <= most) {
      row = &quicker;
      break;
    }
  }
  const auto bytes =
      static_cast<uint64_t>(row->saved_share * static_cast<double>(sample_.allocated_bytes));
  return {*row,
          fmt::format("Recommended: preset {} with Blocks of {}. That would save about {:.0f} "
                      "% of what the files take ({}), and a random read would decode for "
                      "{:.1f} ms.",
                      row->preset, FormatSize(row->block_bytes), row->saved_share * 100,
                      FormatSize(bytes), row->read_s * 1e3)};
}

std::string BenchReport::Text(const std::string& path) const {
  const Table table({{6}, {8}, {7}, {8}, {11}, {11}, {11}, {11}});
  std::string text;
  if (!rows_.empty()) {
    text += table.Line(
        {"Preset", "Block", "Ratio", "Saves", "Encode", "all cores", "Decode", "4 KiB read"});
    text += table.Line({"", "", "", "of disk", "MB/s a core", "MB/s", "MB/s a core", "ms"});
  }
  for (const BenchRow& row : rows_) {
    text += table.Line({std::to_string(row.preset), BlockWord(row.block_bytes),
                        fmt::format("{:.3f}", row.ratio),
                        fmt::format("{:.1f} %", row.saved_share * 100),
                        Speed(row.encode_bytes_per_s), Speed(row.encode_bytes_per_s_all),
                        Speed(row.decode_bytes_per_s), fmt::format("{:.1f}", row.read_s * 1e3)});
  }
  text +=
      fmt::format("{}Sampled {} in {} {} of {}{} in {} {}; they take {} on the disk.\n",
                  rows_.empty() ? "" : "\n", FormatSize(result_.bytes), result_.parts,
                  result_.parts == 1 ? "part" : "parts", sample_.is_complete ? "" : "the first ",
                  FormatSize(sample_.plain_bytes), sample_.files,
                  sample_.files == 1 ? "file" : "files", FormatSize(sample_.allocated_bytes));
  const BenchAdvice advice = Advise();
  text += advice.text + "\n";
  if (!advice.row) {
    return text;
  }
  const std::string size = BlockWord(advice.row->block_bytes);
  const std::string preset = std::to_string(advice.row->preset);
  text += "\n  xzfs SOURCE MOUNTPOINT -o preset=" + preset + ",block_size=" + size + "\n";
  if (sample_.compressed_files < sample_.files) {
    text += "  xzfsctl pack -" + preset + " --block-size " + size + " " + Printable(Quoted(path)) +
            "\n";
  }
  if (sample_.compressed_files != 0) {
    text += "  xzfsctl reblock -f -" + preset + " --block-size " + size + " " +
            Printable(Quoted(path)) + "\n";
  }
  return text;
}

void BenchReport::AddTo(Json& document) const {
  document["files"] = sample_.files;
  document["compressed_files"] = sample_.compressed_files;
  document["plain_bytes"] = sample_.plain_bytes;
  document["disk_bytes"] = sample_.allocated_bytes;
  document["complete"] = sample_.is_complete;
  document["sampled_bytes"] = result_.bytes;
  document["sampled_parts"] = result_.parts;
  document["threads"] = result_.threads;
  document["measurements"] = Json::array();
  for (const BenchRow& row : rows_) {
    document["measurements"].push_back({{"preset", row.preset},
                                        {"block_bytes", row.block_bytes},
                                        {"ratio", row.ratio},
                                        {"saved_share", row.saved_share},
                                        {"encode_bytes_per_second", row.encode_bytes_per_s},
                                        {"encode_bytes_per_second_all", row.encode_bytes_per_s_all},
                                        {"decode_bytes_per_second", row.decode_bytes_per_s},
                                        {"random_read_seconds", row.read_s}});
  }
  const BenchAdvice advice = Advise();
  document["recommended"] = nullptr;
  if (advice.row) {
    document["recommended"] = {{"preset", advice.row->preset},
                               {"block_bytes", advice.row->block_bytes}};
  }
  document["advice"] = advice.text;
}

}  // namespace xzfs
