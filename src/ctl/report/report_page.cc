// The page is one string, put together in the order in which it is read: what was saved, the
// treemap, what to do (pack, reblock), the directories, the mount.
//
// Three things must stay true. The page begins with kReportBeginning, by which the command knows a
// page that it may replace. All text that comes from the tree goes through EscapeHtml; the policy
// in the head forbids the browser to load anything, and to run any script except the one whose hash
// it has. Each table has a limit of rows, so the page stays small for any tree.
//
// A suggestion has its command below it. The commands work on stored files: in a mount they name
// the files of the source.
#include "ctl/report/report_page.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "ctl/report/html.h"
#include "ctl/report/html_table.h"
#include "ctl/report/report_charts.h"
#include "ctl/report/report_commands.h"
#include "ctl/report/report_script.h"
#include "ctl/report/report_style.h"
#include "store/saving.h"

namespace xzfs {
namespace {

constexpr size_t kMostDirectories = 30;
// The least that a slow core decodes in a second: xz -6 of source code.
constexpr double kDecodedBytesPerSecond = 100e6;
// Blocks of 1 MiB at -6.
constexpr const char* kSeekableMs = "10 ms";
constexpr double kSeekableSeconds = 0.01;

std::string Percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

double Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string JoinedPath(const std::string& folder, const std::string& name) {
  return folder + (folder.ends_with('/') ? "" : "/") + name;
}

std::string DirectoryName(const std::string& path) { return path.empty() ? "." : path; }

std::string Tile(const std::string& value, const std::string& title) {
  return "<div class=tile><b>" + value + "</b><span>" + title + "</span></div>\n";
}

std::string DirectoryTable(const ReportTree& tree) {
  std::vector<const ReportDirectory*> largest;
  for (size_t number = 0; number < tree.directories.size(); ++number) {
    const ReportDirectory& directory = tree.directories[number];
    // One in which there is only one other is not worth a row of its own; the root always is.
    if (number == 0 || (directory.all.files != 0 && EndOfChain(tree, number) == number)) {
      largest.push_back(&directory);
    }
  }
  std::stable_sort(largest.begin(), largest.end(), [](const auto* a, const auto* b) {
    return a->all.disk_bytes > b->all.disk_bytes;
  });
  const size_t count = largest.size();
  largest.resize(std::min(count, kMostDirectories));
  std::string text = "<h2>Directories</h2>\n<p>";
  text += largest.size() < count ? "The largest " + std::to_string(largest.size()) + " of " +
                                       std::to_string(count) + ", each"
                                 : "Each is shown";
  text += " with all that is below it.</p>\n";
  HtmlTable table("directories", {"Directory", "Files", "Plain", "On disk", "On disk / plain"});
  for (const ReportDirectory* directory : largest) {
    const Usage& all = directory->all;
    table.BeginRow(DirectoryName(directory->path));
    table.Cell(std::to_string(all.files));
    table.Size(all.plain_bytes);
    table.Size(all.disk_bytes);
    table.Cell(Percent(Share(all.disk_bytes, all.plain_bytes)));
  }
  return text + table.Take();
}

uint64_t SavingOf(const ReportKind& kind) {
  const double packed = static_cast<double>(kind.usage.plain_bytes) * kind.ratio;
  const auto disk = static_cast<double>(kind.usage.disk_bytes);
  return packed < disk ? static_cast<uint64_t>(disk - packed) : 0;
}

using KindEntry = std::pair<const KindName, ReportKind>;

// Those that would save most come first.
std::vector<const KindEntry*> KindsBySaving(const ReportTree& tree) {
  std::vector<const KindEntry*> kinds;
  for (const KindEntry& entry : tree.plain_kinds) {
    kinds.push_back(&entry);
  }
  std::stable_sort(kinds.begin(), kinds.end(), [](const KindEntry* a, const KindEntry* b) {
    return SavingOf(a->second) > SavingOf(b->second);
  });
  return kinds;
}

uint64_t WholeSaving(const ReportTree& tree) {
  uint64_t saving = 0;
  for (const auto& [name, kind] : tree.plain_kinds) {
    saving += SavingOf(kind);
  }
  return saving;
}

std::string Summary(const ReportTree& tree) {
  const Usage& all = tree.directories[0].all;
  const uint64_t saved = all.plain_bytes > all.disk_bytes ? all.plain_bytes - all.disk_bytes : 0;
  std::string text = "<div class=tiles>\n";
  text += Tile(std::to_string(all.files), all.files == 1 ? "file" : "files");
  text += Tile(FormatSize(all.plain_bytes), "plain");
  text += Tile(FormatSize(all.disk_bytes), "on disk");
  text += Tile(FormatSize(saved), "saved, " + Percent(Share(saved, all.plain_bytes)));
  text += Tile(FormatSize(WholeSaving(tree)), "could be saved by packing (estimate)");
  return text + "</div>\n";
}

std::string RemarkOn(const KindEntry& entry) {
  const bool is_series = entry.first.form == KindName::Form::kSeries;
  return is_series || entry.second.has_rotated ? "and rotated ones" : "";
}

// Why the commands can't be used now, if so.
std::string CoveredNote(const ReportPlace& place) {
  return place.is_covered
             ? "<p class=warn>These commands work on the stored files, which the mount "
               "covers now. Unmount it first.</p>\n"
             : "";
}

std::string KindTable(const ReportPlace& place, const ReportTree& tree) {
  constexpr size_t kMostKinds = 15;
  std::vector<const KindEntry*> kinds = KindsBySaving(tree);
  kinds.resize(std::min(kinds.size(), kMostKinds));
  HtmlTable table("pack", {"Ending or name", "Files", "On disk", "Would save"});
  for (const KindEntry* entry : kinds) {
    const auto& [name, kind] = *entry;
    const uint64_t saving = SavingOf(kind);
    table.BeginRow(name.text.empty() ? "(no ending)" : name.text, RemarkOn(*entry));
    table.Cell(std::to_string(kind.usage.files));
    table.Size(kind.usage.disk_bytes);
    table.Size(saving);
    // What pack would leave as it is needs no command.
    if (static_cast<double>(saving) >=
            SavingRule::kDefaultLeast * static_cast<double>(kind.usage.disk_bytes) &&
        saving != 0) {
      table.Command(PackKindCommand(place.stored_path, name, kind.has_rotated));
    }
  }
  return table.Take();
}

std::string PackSection(const ReportPlace& place, const ReportTree& tree) {
  std::string text = "<h2>What to pack first</h2>\n";
  if (tree.plain_kinds.empty()) {
    return text + "<p>All files are compressed.</p>\n";
  }
  text +=
      "<p>Files that are not compressed, by their ending. The savings are estimates: "
      "<code>xzfsctl report</code> compressed samples of some files of each kind, as "
      "<code>xzfsctl pack</code> would. To pack all that gets smaller (with <code>-n</code>, pack "
      "changes nothing and estimates for each file):</p>\n";
  const std::string root = ShellWord(place.stored_path);
  text += CoveredNote(place) + CommandLine("xzfsctl pack -x " + root) + KindTable(place, tree);
  text += "<h3>The largest of these files</h3>\n";
  HtmlTable table("largest", {"File", "On disk"});
  for (const ReportFile& file : tree.plain_files) {
    table.BeginRow(file.path);
    table.Size(file.disk_bytes);
  }
  return text + table.Take();
}

std::string ReblockSection(const ReportPlace& place, const ReportTree& tree) {
  std::string text = "<h2>What to reblock first</h2>\n";
  if (tree.slow_files.empty()) {
    return text + "<p>No file has large Blocks: a read at any offset is quick.</p>\n";
  }
  text += "<p>" + Counted(tree.slow_count, "compressed file has", "compressed files have") +
          " Blocks of more than 4 MiB. A read at some offset may have to decode a whole Block. "
          "After <code>xzfsctl reblock</code> such a read takes about " +
          std::string(kSeekableMs) +
          ". Blocks of 1 MiB take some 5 to 10 % more space than very large ones. To reblock all "
          "files with Blocks of more than 1 MiB:</p>\n" +
          CoveredNote(place) + CommandLine("xzfsctl reblock -x " + ShellWord(place.stored_path));
  HtmlTable table("reblock", {"File", "On disk", "Largest Block", "A read takes up to",
                              "Of that time, reblocking saves"});
  for (const ReportFile& file : tree.slow_files) {
    const double seconds = static_cast<double>(file.largest_block) / kDecodedBytesPerSecond;
    table.BeginRow(file.path);
    table.Size(file.disk_bytes);
    table.Size(file.largest_block);
    table.Cell(seconds < 1 ? fmt::format("{:.2f} s", seconds) : fmt::format("{:.0f} s", seconds));
    table.Cell(Percent(1 - std::min(1.0, kSeekableSeconds / seconds)));
    const std::string& stored = file.stored_path.empty() ? file.path : file.stored_path;
    table.Command("xzfsctl reblock " + ShellWord(JoinedPath(place.stored_path, stored)));
  }
  return text + table.Take();
}

std::string MountSection(const MountReport& mount) {
  const double hits = NumberAt(mount.stats, "/cache/hits");
  const double looks = hits + NumberAt(mount.stats, "/cache/misses");
  std::string text = "<h2>The mount</h2>\n<div class=tiles>\n";
  text += Tile(std::to_string(static_cast<uint64_t>(NumberAt(mount.stats, "/reads/count"))),
               "reads that the kernel's cache could not answer");
  text += Tile(looks == 0 ? "none" : Percent(hits / looks), "found decoded");
  text += Tile(Decimal(NumberAt(mount.stats, "/reads/p50_us") / 1000) + " ms", "half within");
  text += Tile(Decimal(NumberAt(mount.stats, "/reads/p99_us") / 1000) + " ms", "99 % within");
  text += "</div>\n";
  if (mount.history.empty()) {
    return text + "<p>Nothing was read yet.</p>\n";
  }
  return text + HistoryCharts(mount.history);
}

}  // namespace

std::string ReportPage(const ReportPlace& place, const ReportTree& tree, const MountReport* mount) {
  const std::string path = EscapeHtml(place.path);
  const std::string host = EscapeHtml(place.host);
  std::string page(kReportBeginning);
  page += "<meta name=viewport content=\"width=device-width,initial-scale=1\">\n";
  page +=
      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; base-uri 'none'; "
      "form-action 'none'; style-src 'unsafe-inline'; script-src '" +
      std::string(kReportScriptHash) + "'\">\n";
  page += "<title>" + path + " on " + host + " - xzfs</title>\n<style>" +
          std::string(kReportStyle) + "</style>\n</head>\n<body>\n";
  page += "<h1>" + path + "<span> on " + host + "</span></h1>\n<p class=sub>xzfsctl report, " +
          EscapeHtml(place.date) + "</p>\n";
  if (tree.directories[0].all.files == 0) {
    page += "<p>There are no files here.</p>\n";
  } else {
    page += Summary(tree) + "<h2>Space on disk</h2>\n" + TreemapDrawing(tree) +
            "<p id=hover class=sub>Each rectangle is as large as what is in it takes on the disk. "
            "Its colour shows how small that is compared with the plain data.</p>\n" +
            PackSection(place, tree) + ReblockSection(place, tree) + DirectoryTable(tree);
  }
  if (mount != nullptr) {
    page += MountSection(*mount);
  }
  if (tree.unreadable != 0) {
    page += "<p class=warn>" +
            Counted(tree.unreadable, "file or directory", "files or directories") +
            " could not be looked at.</p>\n";
  }
  page += "<script>" + std::string(kReportScript) + "</script>\n";
  return page + "</body>\n</html>\n";
}

}  // namespace xzfs
