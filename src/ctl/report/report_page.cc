// The page is one string, put together in the order in which it is read: what was saved, the
// treemap, what to do (pack, reblock), the directories, the mount. Only the table of what to pack
// is made before the summary above it, which shows its sum.
//
// Three things must stay true. The page begins with kReportBeginning, by which the command knows a
// page that it may replace. All text that comes from the tree goes through EscapeHtml, and the
// policy in the head forbids the browser to load anything. Each table has a limit of rows, so the
// page stays small for any tree. The scripts come last and only enlarge the treemap; without D3
// they are left out.
#include "ctl/report/report_page.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "ctl/report/d3_script.h"
#include "ctl/report/html.h"
#include "ctl/report/report_charts.h"
#include "ctl/report/report_style.h"

namespace xzfs {
namespace {

constexpr size_t kMostDirectories = 30;
// The least that a slow core decodes in a second: xz -6 of source code.
constexpr double kDecodedBytesPerSecond = 100e6;
// Blocks of 1 MiB at -6.
constexpr const char* kSeekableMs = "10 ms";

std::string Percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

double Share(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// "38.2 MiB"; exact in a tooltip.
std::string SizeCell(uint64_t bytes) {
  return "<td class=n title=\"" + std::to_string(bytes) + " bytes\">" + FormatSize(bytes) + "</td>";
}

std::string NumberCell(const std::string& text) { return "<td class=n>" + text + "</td>"; }

std::string NameCell(const std::string& name) {
  return "<td class=name>" + EscapeHtml(name.empty() ? "." : name) + "</td>";
}

std::string Heading(const std::vector<std::string_view>& titles) {
  std::string row = "<thead><tr>";
  for (size_t i = 0; i < titles.size(); ++i) {
    row.append(i == 0 ? "<th>" : "<th class=n>").append(titles[i]).append("</th>");
  }
  return row + "</tr></thead>\n";
}

std::string Tile(const std::string& value, const std::string& title) {
  return "<div class=tile><b>" + value + "</b><span>" + title + "</span></div>\n";
}

std::string Summary(const ReportTree& tree, uint64_t saving) {
  const Usage& all = tree.directories[0].all;
  const uint64_t saved = all.plain_bytes > all.disk_bytes ? all.plain_bytes - all.disk_bytes : 0;
  std::string text = "<div class=tiles>\n";
  text += Tile(std::to_string(all.files), "files");
  text += Tile(FormatSize(all.plain_bytes), "plain");
  text += Tile(FormatSize(all.disk_bytes), "on disk");
  text += Tile(FormatSize(saved), "saved, " + Percent(Share(saved, all.plain_bytes)));
  text += Tile(FormatSize(saving), "could be saved by packing (estimate)");
  return text + "</div>\n";
}

std::string DirectoryTable(const ReportTree& tree) {
  std::vector<const ReportDirectory*> largest;
  for (const ReportDirectory& directory : tree.directories) {
    largest.push_back(&directory);
  }
  std::sort(largest.begin(), largest.end(),
            [](const auto* a, const auto* b) { return a->all.disk_bytes > b->all.disk_bytes; });
  const size_t count = largest.size();
  largest.resize(std::min(count, kMostDirectories));
  std::string text =
      "<h2>Directories</h2>\n<p>The largest " + std::to_string(largest.size()) + " of " +
      std::to_string(count) + ", each with all that is below it.</p>\n" + "<table id=directories>" +
      Heading({"Directory", "Files", "Plain", "On disk", "On disk / plain"}) + "<tbody>\n";
  for (const ReportDirectory* directory : largest) {
    const Usage& all = directory->all;
    text += "<tr>" + NameCell(directory->path) + NumberCell(std::to_string(all.files)) +
            SizeCell(all.plain_bytes) + SizeCell(all.disk_bytes) +
            NumberCell(Percent(Share(all.disk_bytes, all.plain_bytes))) + "</tr>\n";
  }
  return text + "</tbody></table>\n";
}

uint64_t SavingOf(const ReportKind& kind) {
  const double packed = static_cast<double>(kind.usage.plain_bytes) * kind.ratio;
  const auto disk = static_cast<double>(kind.usage.disk_bytes);
  return packed < disk ? static_cast<uint64_t>(disk - packed) : 0;
}

// `saving`: gets the sum.
std::string PackTables(const ReportTree& tree, uint64_t& saving) {
  std::vector<std::pair<std::string, const ReportKind*>> kinds;
  saving = 0;
  for (const auto& [ending, kind] : tree.plain_kinds) {
    kinds.emplace_back(ending, &kind);
    saving += SavingOf(kind);
  }
  std::sort(kinds.begin(), kinds.end(),
            [](const auto& a, const auto& b) { return SavingOf(*a.second) > SavingOf(*b.second); });
  std::string text = "<h2>What to pack first</h2>\n";
  if (kinds.empty()) {
    return text + "<p>All files are compressed.</p>\n";
  }
  kinds.resize(std::min(kinds.size(), size_t{15}));
  text +=
      "<p>Files that are not compressed, by their ending. The savings are estimates: a bit of "
      "some files of each kind was compressed as <code>xzfsctl pack</code> would.</p>\n";
  text += "<table id=pack>" + Heading({"Ending", "Files", "On disk", "Would save"}) + "<tbody>\n";
  for (const auto& [ending, kind] : kinds) {
    text += "<tr>" + NameCell(ending.empty() ? "(none)" : ending) +
            NumberCell(std::to_string(kind->usage.files)) + SizeCell(kind->usage.disk_bytes) +
            SizeCell(SavingOf(*kind)) + "</tr>\n";
  }
  text += "</tbody></table>\n<h3>The largest of these files</h3>\n<table>" +
          Heading({"File", "On disk"}) + "<tbody>\n";
  for (const ReportFile& file : tree.plain_files) {
    text += "<tr>" + NameCell(file.path) + SizeCell(file.disk_bytes) + "</tr>\n";
  }
  return text + "</tbody></table>\n";
}

std::string ReblockTable(const ReportTree& tree) {
  std::string text = "<h2>What to reblock first</h2>\n";
  if (tree.slow_files.empty()) {
    return text + "<p>No file has large Blocks: a read at any offset is quick.</p>\n";
  }
  text += "<p>" + std::to_string(tree.slow_count) +
          " compressed files have Blocks of more than 4 MiB. A read somewhere in one may have to "
          "decode so much; after <code>xzfsctl reblock</code> it takes about " +
          std::string(kSeekableMs) +
          ". Blocks of 1 MiB take some 5 to 10 % more space than very large ones.</p>\n<table "
          "id=reblock>" +
          Heading({"File", "On disk", "Largest Block", "A read takes up to", "Would save"}) +
          "<tbody>\n";
  for (const ReportFile& file : tree.slow_files) {
    const double seconds = static_cast<double>(file.largest_block) / kDecodedBytesPerSecond;
    const std::string time =
        seconds < 1 ? fmt::format("{:.2f} s", seconds) : fmt::format("{:.0f} s", seconds);
    text += "<tr>" + NameCell(file.path) + SizeCell(file.disk_bytes) +
            SizeCell(file.largest_block) + NumberCell(time) +
            NumberCell(Percent(1 - std::min(1.0, 0.01 / seconds)) + " of it") + "</tr>\n";
  }
  return text + "</tbody></table>\n";
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

std::string ReportPage(const std::string& root, const ReportTree& tree, const MountReport* mount,
                       const std::string& date) {
  uint64_t saving = 0;
  const std::string pack = PackTables(tree, saving);
  std::string page(kReportBeginning);
  page += "<meta name=viewport content=\"width=device-width,initial-scale=1\">\n";
  // Nothing is fetched, whatever a name may look like.
  page +=
      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n";
  page += "<title>" + EscapeHtml(root) + " - xzfs</title>\n<style>" + std::string(kReportStyle) +
          "</style>\n</head>\n<body>\n";
  page += "<h1>" + EscapeHtml(root) + "</h1>\n<p class=sub>xzfsctl report, " + EscapeHtml(date) +
          "</p>\n";
  page += Summary(tree, saving);
  page += "<h2>Space on disk</h2>\n" + TreemapDrawing(tree) +
          "<p id=hover class=sub>Each rectangle is as large as what is in it takes on the disk; "
          "its colour is how small it is compared with the plain data.</p>\n";
  page += pack + ReblockTable(tree) + DirectoryTable(tree);
  if (mount != nullptr) {
    page += MountSection(*mount);
  }
  if (tree.unreadable != 0) {
    page += "<p class=warn>" + std::to_string(tree.unreadable) +
            " files or directories could not be looked at.</p>\n";
  }
  if (!D3Script().empty()) {
    page += "<script>" + std::string(D3Script()) + "</script>\n<script>" +
            std::string(kReportScript) + "</script>\n";
  }
  return page + "</body>\n</html>\n";
}

}  // namespace xzfs
