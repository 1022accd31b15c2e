// Answer makes the JSON of an attribute when a program reads it; nothing is prepared for that. The
// counters and the parts of the mount are asked one after another, and each takes its own lock. So
// the figures of one answer are not of exactly the same moment.
//
// Command runs what the name of an attribute asks for, and may call `done` later and on another
// thread: so a long commit holds no request thread. What goes wrong in a command is text that
// begins with "error: ", since a program that reads an attribute gets no more than an errno
// otherwise. A command fails with an errno only if the caller has no right to it.
//
// Other programs read the JSON. A field keeps its name and its meaning as long as kSchema is the
// same. Start at InstallControl.
#include "control/figures.h"

#include <linux/limits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/caller.h"
#include "base/fail.h"
#include "fs/mount.h"
#include "xz/format.h"

namespace xzfs {
namespace {

using Json = nlohmann::ordered_json;

// The facts of a mount, and when it began.
struct Facts {
  MountFacts mount;
  std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
};

// Raised when a field changes its meaning; new fields may be added at any time.
constexpr int kSchema = 2;

// Names are bytes, JSON is UTF-8: other bytes become U+FFFD.
std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json ReadsJson(const ReadTimes& times) {
  const ReadTimes::Counts counts = times.counts();
  uint64_t all = 0;
  Json below = Json::array();
  for (size_t i = 0; i < counts.size(); ++i) {
    all += counts[i];
    // Two octaves a step, so that a monitoring system has few series to keep.
    const bool is_last = i + 1 == counts.size();
    if (!is_last && i % 4 == 0) {
      below.push_back({ReadTimes::UpperBoundUs(i), all});
    }
  }
  return {{"count", all},
          {"total_us", times.total_ns() / 1000},
          {"p50_us", ReadTimes::QuantileUs(counts, 0.5)},
          {"p99_us", ReadTimes::QuantileUs(counts, 0.99)},
          {"count_below_us", std::move(below)}};
}

Json SettingsJson(const Options& options) {
  return {{"cache_size_bytes", options.cache_size_bytes},
          {"compress_threads", options.compress_threads},
          {"settle_seconds", options.settle_s},
          {"preset", options.preset},
          {"extreme", options.extreme},
          {"min_saving_percent", options.min_saving_percent},
          {"idle_seconds", options.idle_s},
          {"log_level", LogLevelName(options.log_level)}};
}

template <class Share>
Json ShareJson(const Share& share) {
  return {{"files", share.files}, {"plain_bytes", share.bytes}};
}

Json ColdJson(const ColdSearch::Figures& cold, const Options& options, const Stats& stats) {
  return {{"cold_after_seconds", options.cold_after_s},
          {"compressed",
           {{"files", stats.cold_files.Get()},
            {"plain_bytes", stats.cold_plain_bytes.Get()},
            {"compressed_bytes", stats.cold_stored_bytes.Get()}}},
          {"walks", cold.walks},
          {"walking", cold.walking},
          {"directory", cold.directory},
          {"plain", ShareJson(cold.plain)},
          {"waiting", ShareJson(cold.waiting)},
          {"kept_plain", ShareJson(cold.kept)},
          {"unshrinkable", ShareJson(cold.unshrinkable)},
          {"failed", cold.failed}};
}

std::string HistoryJson(Mount& mount) {
  const auto steady_now = History::Clock::now();
  const auto now = std::chrono::system_clock::now();
  Json samples = Json::array();
  for (const History::Sample& sample : mount.reads.history().Samples(steady_now)) {
    const History::Figures& figures = sample.figures;
    uint64_t reads = 0;
    for (const uint64_t count : figures.reads) {
      reads += count;
    }
    if (reads == 0) {
      continue;
    }
    const auto begin = now - (steady_now - sample.begin);
    samples.push_back(
        {std::chrono::duration_cast<std::chrono::seconds>(begin.time_since_epoch()).count(),
         std::chrono::duration_cast<std::chrono::milliseconds>(sample.end - sample.begin).count(),
         reads, figures.hits, figures.misses, figures.served_bytes, figures.decoded_bytes,
         ReadTimes::QuantileUs(figures.reads, 0.5), ReadTimes::QuantileUs(figures.reads, 0.99)});
  }
  Json json;
  json["schema"] = kSchema;
  json["columns"] = {"begin_unix_seconds", "milliseconds",  "reads",  "hits",  "misses",
                     "served_bytes",       "decoded_bytes", "p50_us", "p99_us"};
  json["samples"] = std::move(samples);
  return Dump(json);
}

// The report names at most so many files that can't be committed.
constexpr size_t kMostUncommitted = 20;

Json UncommittedJson(Mount& mount, size_t most) {
  Json files = Json::array();
  for (const Uncommitted& file : mount.report.Files(most)) {
    files.push_back({{"path", file.path},
                     {"reason", file.reason},
                     {"state", file.is_given_up ? "given_up" : "waits"}});
  }
  return files;
}

std::string StatsJson(Mount& mount, const Facts& facts) {
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - facts.began;
  const ReadEngine& engine = mount.engine;
  const Stats& stats = engine.stats;
  Json json;
  json["schema"] = kSchema;
  json["version"] = facts.mount.version;
  json["source"] = facts.mount.source;
  json["uptime_seconds"] = since.count();
  json["read_only"] = mount.options.read_only;
  json["pid"] = getpid();
  json["end_note"] = facts.mount.end_note;
  json["cache"] = {{"hits", stats.cache_hits.Get()},
                   {"misses", stats.cache_misses.Get()},
                   {"single_flight_joins", stats.single_flight_joins.Get()},
                   {"evictions", stats.evictions.Get()},
                   {"handed_over", stats.handed_over.Get()}};
  json["decoded_bytes"] = stats.decoded_bytes.Get();
  json["served_bytes"] = stats.served_bytes.Get();
  json["reads"] = ReadsJson(mount.reads.times());
  json["decode_ahead"] = {{"useful", stats.ahead_useful.Get()},
                          {"wasted", stats.ahead_wasted.Get()},
                          {"files", stats.files_ahead.Get()},
                          {"files_useful", stats.files_ahead_useful.Get()}};
  json["giant_block_restarts"] = stats.giant_restarts.Get();
  json["restart_points"] = {{"saved", stats.giant_points.Get()},
                            {"restored", stats.giant_restores.Get()}};
  json["decoder"] = {{"fallbacks", stats.decoder_fallbacks.Get()},
                     {"wrong", stats.decoder_wrong.Get()}};
  json["damaged"] = {{"blocks", stats.damaged_blocks.Get()}, {"files", stats.damaged_files.Get()}};
  json["name_collisions"] = stats.collisions.Get();
  const Committer::Figures commits = mount.committer.figures();
  json["commits"] = {{"pending", commits.pending},
                     {"pending_bytes", commits.pending_bytes},
                     {"done", stats.commits_done.Get()},
                     {"failed", stats.commits_failed.Get()},
                     {"cancelled", stats.commits_cancelled.Get()},
                     {"in_vain", stats.commits_in_vain.Get()},
                     {"unshrinkable", ShareJson(mount.unshrinkable.share())},
                     {"plain_bytes", stats.commit_plain_bytes.Get()},
                     {"compressed_bytes", stats.commit_stored_bytes.Get()},
                     {"blocks_encoded", stats.blocks_encoded.Get()},
                     {"blocks_stored", stats.blocks_stored.Get()},
                     {"blocks_reused", stats.blocks_reused.Get()},
                     {"overlays_lost", stats.overlays_lost.Get()},
                     {"given_up", mount.report.given_up()},
                     {"uncommitted", UncommittedJson(mount, kMostUncommitted)},
                     {"syncs_failed", stats.syncs_failed.Get()},
                     {"last_error", commits.last_error}};
  if (const auto cold = mount.cold.figures()) {
    json["cold"] = ColdJson(*cold, mount.options, stats);
  }
  json["budget"] = {{"total_bytes", engine.budget.total()},
                    {"used_bytes", engine.budget.used()},
                    {"peak_bytes", engine.budget.peak()}};
  json["descriptors"] = {{"open", mount.open_descriptors()}, {"limit", mount.descriptor_limit()}};
  json["nodes"] = mount.tree.nodes().size();
  json["settings"] = SettingsJson(mount.live.Get());
  json["threads"] = mount.options.threads;
  json["whole_block_limit_bytes"] = mount.options.whole_block_limit_bytes;
  return Dump(json);
}

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number)
                                                                  : std::nullopt;
}

const char* StateName(StoredKind kind) {
  switch (kind) {
    case StoredKind::kDirectory:
      return "directory";
    case StoredKind::kPlain:
      return "plain";
    case StoredKind::kCompressed:
      return "compressed";
    case StoredKind::kSymlink:
    case StoredKind::kStrippedLink:
      return "symlink";
    case StoredKind::kSpecial:
      break;
  }
  return "special";
}

// As xz -l: compressed / plain.
Json Ratio(uint64_t compressed_bytes, uint64_t plain_bytes) {
  return plain_bytes == 0
             ? Json(nullptr)
             : Json(static_cast<double>(compressed_bytes) / static_cast<double>(plain_bytes));
}

std::string InfoJson(const FileFigures& file) {
  Json json;
  json["schema"] = kSchema;
  json["stored_name"] = file.stored_name;
  json["state"] = file.edited ? "edited" : StateName(file.kind);
  json["plain_bytes"] = file.plain_size;
  json["disk_bytes"] = file.allocated_bytes;
  if (file.stays_plain) {
    json["stays_plain"] = *file.stays_plain;
  }
  if (file.kind != StoredKind::kCompressed) {
    return Dump(json);
  }
  json["compressed_bytes"] = file.stored_size;
  json["stored_version"] = file.stored_version;
  json["format"] = FormatName(file.format);
  if (file.unsupported) {
    json["unsupported"] = *file.unsupported;
  }
  if (file.damage) {
    json["damaged"] = *file.damage;
  }
  if (!file.has_index) {
    json["plain_bytes"] = nullptr;
    return Dump(json);
  }
  json["ratio"] = Ratio(file.stored_size, file.plain_size);
  json["streams"] = file.stream_count;
  json["blocks"] = file.block_count;
  json["largest_block_bytes"] = file.largest_block;
  json["checks"] = file.checks;
  json["filters"] = file.filters;
  return Dump(json);
}

// Answers user.xzfs.stored.`request`, which is VERSION.OFFSET.LENGTH.
Result<std::string> StoredBytes(Mount& mount, NodeId node, std::string_view request) {
  const size_t second = request.rfind('.');
  const size_t first = second == std::string_view::npos || second == 0
                           ? std::string_view::npos
                           : request.rfind('.', second - 1);
  if (first == std::string_view::npos) {
    return Fail(ENODATA, "no VERSION.OFFSET.LENGTH");
  }
  const auto offset = Number(request.substr(first + 1, second - first - 1));
  const auto length = Number(request.substr(second + 1));
  if (!offset || !length) {
    return Fail(ENODATA, "no VERSION.OFFSET.LENGTH");
  }
  return mount.ReadStored(node, std::string(request.substr(0, first)), *offset,
                          std::min<uint64_t>(*length, XATTR_SIZE_MAX));
}

// Whether the caller may send commands to the mount.
bool MayCommand(const Caller& caller) { return caller.uid == 0 || caller.uid == geteuid(); }

bool Command(Mount& mount, NodeId node, const std::string& key, const Caller& caller,
             const ControlAttributes::Done& done) {
  constexpr std::string_view kPrefix = "user.xzfs.cmd.";
  constexpr std::string_view kSet = "set.";
  if (node != kRootNode || !key.starts_with(kPrefix)) {
    return false;
  }
  const std::string_view command = std::string_view(key).substr(kPrefix.size());
  if (command == "sync") {
    mount.commits.SyncCommits([done](const Status& synced) {
      done(synced ? std::string("ok") : "error: " + synced.error().message);
    });
    return true;
  }
  if (command != "drop-cache" && !command.starts_with(kSet)) {
    return false;
  }
  if (!MayCommand(caller)) {
    done(Fail(EPERM, "only root and the user who mounted it may send commands to the mount"));
  } else if (command == "drop-cache") {
    mount.reads.DropCaches([done] { done(std::string("ok")); });
  } else {
    const Status set = mount.live.SetLive(std::string(command.substr(kSet.size())));
    done(set ? std::string("ok") : "error: " + set.error().message);
  }
  return true;
}

std::optional<Result<std::string>> Answer(Mount& mount, const Facts& facts, NodeId node,
                                          const std::string& key) {
  constexpr std::string_view kStored = "user.xzfs.stored.";
  if (key.starts_with(kStored)) {
    return StoredBytes(mount, node, std::string_view(key).substr(kStored.size()));
  }
  if (key == "user.xzfs.source" && node == kRootNode) {
    return facts.mount.source;
  }
  if (key == "user.xzfs.stats" && node == kRootNode) {
    return StatsJson(mount, facts);
  }
  if (key == "user.xzfs.history" && node == kRootNode) {
    return HistoryJson(mount);
  }
  if (key == "user.xzfs.info") {
    return mount.Describe(node).transform(InfoJson);
  }
  return std::nullopt;
}

}  // namespace

void InstallControl(Mount& mount, MountFacts mount_facts) {
  mount.control.Set(
      {.answer = [&mount, facts = Facts{.mount = std::move(mount_facts)}](
                     NodeId node,
                     const std::string& key) { return Answer(mount, facts, node, key); },
       .run =
           [&mount](NodeId node, const std::string& key, const Caller& caller,
                    const ControlAttributes::Done& done) {
             return Command(mount, node, key, caller, done);
           }});
}

std::string CommittingNote(Mount& mount) {
  return Dump({{"committing", mount.committer.figures().pending}});
}

std::string EndNote(Mount& mount) {
  const Committer::Figures commits = mount.committer.figures();
  return Dump({{"pending", commits.pending},
               {"given_up", mount.report.given_up()},
               {"uncommitted", UncommittedJson(mount, 1)},
               {"last_error", commits.last_error}});
}

}  // namespace xzfs
