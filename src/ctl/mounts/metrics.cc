// kMetrics has each single figure once: where it is in a mount's answer, and what it is called in
// the two outputs. Both go through it in its order, which begins with what waits and what failed,
// and leave out what a mount doesn't give: some figures exist only with compress=cold, and the
// mount may be of another version. The histogram of read times and the lines that are made of
// several figures have code of their own.
//
// Prometheus wants all samples of a metric together, under one HELP and one TYPE. So the outer loop
// is over the metrics, and the inner one over the mounts. The type follows from the name: a counter
// ends in _total. The buckets of the histogram are cumulative, as the mount gives them already.
#include "ctl/mounts/metrics.h"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/shell/table.h"

namespace xzfs {
namespace {

enum class Kind { kCount, kBytes };

// One figure: where it is in a mount's answer, and what it is called. A counter's name ends in
// _total.
struct Metric {
  const char* pointer;
  const char* name;   // without the prefix "xzfs_"
  const char* title;  // in the table; null: not there
  Kind kind;
  const char* help;
};

constexpr Metric kMetrics[] = {
    {"/uptime_seconds", "uptime_seconds", nullptr, Kind::kCount, "How long it has been mounted."},
    {"/commits/pending", "commits_pending", "Waiting to be compressed", Kind::kCount,
     "Files that wait to be compressed."},
    {"/commits/pending_bytes", "commits_pending_bytes", "  their size", Kind::kBytes,
     "Plain bytes of files that wait to be compressed."},
    {"/commits/given_up", "commits_given_up", "Left uncompressed", Kind::kCount,
     "Files that can't be compressed until they change or their source is mounted again."},
    {"/commits/failed", "commits_failed_total", "Attempts that failed", Kind::kCount,
     "Attempts to compress a file that failed."},
    {"/commits/overlays_lost", "overlays_lost_total", "Moved to lost+found", Kind::kCount,
     "Pending changes that were put into .xzfs/lost+found."},
    {"/decoder/wrong", "decoder_wrong_total", "Decoder was wrong", Kind::kCount,
     "Blocks that our decoder took for damaged, and liblzma decoded."},
    {"/decoder/fallbacks", "decoder_fallbacks_total", nullptr, Kind::kCount,
     "Blocks that our decoder took for damaged, so that liblzma was asked."},
    {"/damaged/blocks", "damaged_blocks_total", "Damaged Blocks", Kind::kCount,
     "Blocks that were found damaged."},
    {"/damaged/files", "damaged_files_total", "Damaged files", Kind::kCount,
     "Files whose Index can't be read."},
    {"/name_collisions", "name_collisions_total", "Name conflicts", Kind::kCount,
     "Stored names that want the same name."},
    {"/commits/done", "commits_total", "Files compressed", Kind::kCount,
     "Files that were compressed."},
    {"/commits/plain_bytes", "commits_plain_bytes_total", "  their size", Kind::kBytes,
     "Plain bytes of files that were compressed."},
    {"/commits/compressed_bytes", "commits_compressed_bytes_total", "  compressed", Kind::kBytes,
     "What these files take now."},
    {"/commits/cancelled", "commits_cancelled_total", "Cancelled by a writer", Kind::kCount,
     "Attempts to compress a file that a program changed meanwhile."},
    {"/commits/unshrinkable/files", "unshrinkable_files", "Would not shrink", Kind::kCount,
     "Plain files that were left plain because compressing them saves less than min_saving."},
    {"/commits/unshrinkable/plain_bytes", "unshrinkable_bytes", "  their size", Kind::kBytes,
     "Bytes of these files."},
    {"/commits/in_vain", "commits_in_vain_total", nullptr, Kind::kCount,
     "Attempts to compress a file that would not shrink."},
    {"/cold/compressed/files", "cold_compressed_files_total", "Cold files compressed", Kind::kCount,
     "Files that compress=cold compressed."},
    {"/cold/compressed/plain_bytes", "cold_compressed_plain_bytes_total", nullptr, Kind::kBytes,
     "Plain bytes of files that compress=cold compressed."},
    {"/cold/compressed/compressed_bytes", "cold_compressed_bytes_total", nullptr, Kind::kBytes,
     "What these files take now."},
    {"/cold/waiting/files", "cold_waiting_files", "Not yet cold", Kind::kCount,
     "Plain files that were used too lately to be compressed."},
    {"/cold/waiting/plain_bytes", "cold_waiting_bytes", "  their size", Kind::kBytes,
     "Bytes of plain files that were used too lately to be compressed."},
    {"/cold/unshrinkable/files", "cold_unshrinkable_files", "Don't shrink", Kind::kCount,
     "Plain files that would not become smaller."},
    {"/commits/blocks_encoded", "blocks_encoded_total", nullptr, Kind::kCount,
     "Blocks that were encoded."},
    {"/commits/blocks_reused", "blocks_reused_total", nullptr, Kind::kCount,
     "Blocks that were copied as they were."},
    {"/served_bytes", "served_bytes_total", "Read by programs", Kind::kBytes,
     "Plain bytes that readers got, except those of the kernel's page cache."},
    {"/decoded_bytes", "decoded_bytes_total", "Decoded", Kind::kBytes,
     "Plain bytes that came out of decoders."},
    {"/cache/hits", "cache_hits_total", "Cache hits", Kind::kCount,
     "Reads of a unit that was decoded already."},
    {"/cache/misses", "cache_misses_total", "Cache misses", Kind::kCount,
     "Reads that had to decode."},
    {"/cache/single_flight_joins", "cache_joins_total", nullptr, Kind::kCount,
     "Reads that waited for another reader's decoding of the same unit."},
    {"/cache/evictions", "cache_evictions_total", nullptr, Kind::kCount,
     "Units dropped to make room."},
    {"/cache/handed_over", "cache_handed_over_total", nullptr, Kind::kCount,
     "Units dropped because the kernel's page cache has all of them."},
    {"/decode_ahead/useful", "ahead_useful_total", nullptr, Kind::kCount,
     "Units decoded ahead that were then read."},
    {"/decode_ahead/wasted", "ahead_wasted_total", nullptr, Kind::kCount,
     "Units decoded ahead that were dropped unread."},
    {"/giant_block_restarts", "giant_block_restarts_total", nullptr, Kind::kCount,
     "Times that a giant Block was begun at its start."},
    {"/budget/total_bytes", "cache_size_bytes", "Memory budget", Kind::kBytes,
     "The memory budget."},
    {"/budget/used_bytes", "cache_used_bytes", "Memory used", Kind::kBytes,
     "What is used of the memory budget."},
    {"/budget/peak_bytes", "cache_peak_bytes", "Memory peak", Kind::kBytes,
     "The most that was ever used of the memory budget."},
    {"/descriptors/open", "descriptors_open", nullptr, Kind::kCount,
     "Descriptors that are kept open."},
    {"/nodes", "nodes", "Files known", Kind::kCount, "Files that the kernel knows."},
};

std::string LabelOf(const std::string& name, const std::string& value) {
  std::string text = name + "=\"";
  for (const char c : Printable(value)) {
    text += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  }
  return text + '"';
}

// The beginning of a sample's labels. The caller adds the closing brace.
std::string Label(const std::string& mount) { return "{" + LabelOf("mount", mount); }

std::string Number(double value) {
  const bool is_whole = value == std::floor(value) && std::fabs(value) < 1e15;
  return is_whole ? fmt::format("{:.0f}", value) : fmt::format("{:.9g}", value);
}

bool Has(const Json& stats, const char* pointer) {
  return stats.contains(Json::json_pointer(pointer));
}

void AppendHead(std::string& text, const std::string& name, std::string_view type,
                std::string_view help) {
  text.append("# HELP ").append(name).append(" ").append(help).append("\n");
  text.append("# TYPE ").append(name).append(" ").append(type).append("\n");
}

// How long reads took: a histogram. Each count includes those of the smaller bounds.
void AppendReadTimes(std::string& text, const std::vector<MountStats>& mounts) {
  const std::string name = "xzfs_read_duration_seconds";
  AppendHead(text, name, "histogram",
             "How long reads took that the kernel's page cache could not answer.");
  for (const auto& [mount, stats] : mounts) {
    const std::string label = Label(mount);
    const Json reads = stats.value("reads", Json::object());
    for (const Json& step : reads.value("count_below_us", Json::array())) {
      if (step.is_array() && step.size() == 2 && step[0].is_number() && step[1].is_number()) {
        text += name + "_bucket" + label + ",le=\"" + Number(step[0].get<double>() / 1e6) + "\"} " +
                Number(step[1].get<double>()) + "\n";
      }
    }
    const std::string count = Number(NumberAt(reads, "/count"));
    text += name + "_bucket" + label + ",le=\"+Inf\"} " + count + "\n";
    text += name + "_sum" + label + "} " + Number(NumberAt(reads, "/total_us") / 1e6) + "\n";
    text += name + "_count" + label + "} " + count + "\n";
  }
}

}  // namespace

std::string PrometheusText(const std::vector<MountStats>& mounts) {
  std::string text;
  for (const auto& [mount, stats] : mounts) {
    if (text.empty()) {
      AppendHead(text, "xzfs_info", "gauge", "Always 1; the labels tell about the mount.");
    }
    text += "xzfs_info" + Label(mount) + "," + LabelOf("source", stats.value("source", "")) + "," +
            LabelOf("version", stats.value("version", "")) + "} 1\n";
  }
  for (const Metric& metric : kMetrics) {
    const std::string name = std::string("xzfs_") + metric.name;
    bool is_first = true;
    for (const auto& [mount, stats] : mounts) {
      if (!Has(stats, metric.pointer)) {
        continue;  // a figure of compress=cold, or of another version
      }
      if (std::exchange(is_first, false)) {
        AppendHead(text, name, name.ends_with("_total") ? "counter" : "gauge", metric.help);
      }
      text += name + Label(mount) + "} " + Number(NumberAt(stats, metric.pointer)) + "\n";
    }
  }
  AppendReadTimes(text, mounts);
  return text;
}

std::string MountHeading(const MountStats& mount) {
  const Json& stats = mount.second;
  std::string text = Printable(mount.first) + "\n";
  text += "  xzfs " + Printable(stats.value("version", "of another version")) + ", source " +
          Printable(stats.value("source", "not known")) +
          (stats.value("read_only", false) ? ", read-only" : "");
  if (Has(stats, "/uptime_seconds")) {
    text += ", mounted for " + FormatDuration(NumberAt(stats, "/uptime_seconds"));
  }
  return text + "\n";
}

std::string CommitProblems(const Json& stats) {
  std::string text;
  const Json commits = stats.value("commits", Json::object());
  for (const Json& file : commits.value("uncommitted", Json::array())) {
    text +=
        std::string(file.value("state", "") == "given_up" ? "  Left uncompressed: " : "  Waits: ") +
        Printable(file.value("path", "")) + " (" + Printable(file.value("reason", "")) + ")\n";
  }
  const Json error = commits.value("last_error", Json());
  if (error.is_string() && !error.get<std::string>().empty()) {
    text += "  Last error: " + Printable(error.get<std::string>()) + "\n";
  }
  return text;
}

std::string StatsTable(const MountStats& mount) {
  const Json& stats = mount.second;
  const std::string problems = CommitProblems(stats);
  std::string text = MountHeading(mount) + problems + (problems.empty() ? "" : "\n");
  const Table table({{26, Table::Align::kLeft}, {12}}, /*indent=*/2);
  const auto add = [&](const char* title, const std::string& value) {
    text += table.Line({title, value});
  };
  for (const Metric& metric : kMetrics) {
    if (metric.title != nullptr && Has(stats, metric.pointer)) {
      const double value = NumberAt(stats, metric.pointer);
      add(metric.title,
          metric.kind == Kind::kBytes ? FormatSize(static_cast<uint64_t>(value)) : Number(value));
    }
  }
  const double hits = NumberAt(stats, "/cache/hits");
  const double misses = NumberAt(stats, "/cache/misses");
  if (hits + misses > 0) {
    add("Cache hit rate", fmt::format("{:.1f} %", 100 * hits / (hits + misses)));
  }
  const auto time = [](double us) {
    return us < 1000 ? fmt::format("{:.0f} us", us) : fmt::format("{:.1f} ms", us / 1000);
  };
  add("Reads", Number(NumberAt(stats, "/reads/count")));
  add("  half of them within", time(NumberAt(stats, "/reads/p50_us")));
  add("  99 % within", time(NumberAt(stats, "/reads/p99_us")));
  return text;
}

}  // namespace xzfs
