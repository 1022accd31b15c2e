// Both drawings are SVG, put together as text. They have no colours of their own: each shape has a
// class, and report_style.h says how that looks in light and dark. Classes r0 to r5 are the ranges
// of kRatios, in its order. A name that comes from a file goes through EscapeHtml, a coordinate
// through Decimal, which knows no locale.
//
// The treemap draws the cells of LayTreemap in their order, a frame before what is in it. A cell's
// title has its figures, for readers without scripts too.
//
// A chart has the mount's life as its x axis, and values from 0 to 1. The times of reads are on a
// logarithmic scale, from 1 us to the power of ten above the largest figure, at least 1 ms. A line
// is broken where there were no reads for long.
#include "ctl/report/report_charts.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <functional>

#include "base/units.h"
#include "ctl/report/html.h"
#include "ctl/report/treemap.h"

namespace xzfs {
namespace {

constexpr double kMapWidth = 1200;
constexpr double kMapHeight = 640;
// A page with this many loads at once, and a reader could not tell more of them apart.
constexpr size_t kMostCells = 500;
constexpr double kCharacterWidth = 6.5;  // of the 12 px font, on average

// Classes of disk / plain, by their upper ends.
constexpr std::array kRatios = {0.1, 0.2, 0.35, 0.6, 0.9};
constexpr std::array kRatioNames = {"under 10 %", "10 to 20 %", "20 to 35 %",
                                    "35 to 60 %", "60 to 90 %", "90 % and more"};

size_t RatioClass(const Usage& usage) {
  const double ratio = usage.plain_bytes == 0 ? 1
                                              : static_cast<double>(usage.disk_bytes) /
                                                    static_cast<double>(usage.plain_bytes);
  return static_cast<size_t>(std::upper_bound(kRatios.begin(), kRatios.end(), ratio) -
                             kRatios.begin());
}

std::string LastName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string LabelOf(const ReportTree& tree, const TreemapCell& cell) {
  switch (cell.kind) {
    case TreemapCell::Kind::kFiles:
      return "files";
    case TreemapCell::Kind::kOthers:
      return std::to_string(cell.count) + " small";
    case TreemapCell::Kind::kFrame:
    case TreemapCell::Kind::kLeaf:
      break;
  }
  const std::string& path = tree.directories[cell.directory].path;
  return path.empty() ? "." : LastName(path);
}

std::string NameOf(const ReportTree& tree, const TreemapCell& cell) {
  const std::string& path = tree.directories[cell.directory].path;
  std::string text = path.empty() ? "." : path;
  if (cell.kind == TreemapCell::Kind::kFiles) {
    text += ": the files in it";
  } else if (cell.kind == TreemapCell::Kind::kOthers) {
    text += ": " + std::to_string(cell.count) + " small parts of it";
  }
  return text;
}

std::string FiguresOf(const TreemapCell& cell) {
  return fmt::format("{} files, {} plain, {} on disk, {:.1f} %", cell.usage.files,
                     FormatSize(cell.usage.plain_bytes), FormatSize(cell.usage.disk_bytes),
                     cell.usage.plain_bytes == 0
                         ? 100.0
                         : 100 * static_cast<double>(cell.usage.disk_bytes) /
                               static_cast<double>(cell.usage.plain_bytes));
}

std::string CellDrawing(const ReportTree& tree, const TreemapCell& cell) {
  const Box& box = cell.box;
  if (box.width <= 0 || box.height <= 0) {
    return "";
  }
  const bool is_frame = cell.kind == TreemapCell::Kind::kFrame;
  const std::string ratio = std::to_string(RatioClass(cell.usage));
  std::string text = "<rect class=\"" + (is_frame ? "frame" : "r" + ratio) + "\" x=\"" +
                     Decimal(box.x) + "\" y=\"" + Decimal(box.y) + "\" width=\"" +
                     Decimal(box.width) + "\" height=\"" + Decimal(box.height) + "\"><title>" +
                     EscapeHtml(NameOf(tree, cell)) + "\n" + FiguresOf(cell) + "</title></rect>\n";
  const auto characters = static_cast<size_t>(std::max(0.0, (box.width - 8) / kCharacterWidth));
  if (characters >= 3 && box.height >= kTitleHeight) {
    text += "<text" + (is_frame ? std::string() : " class=t" + ratio) + " x=\"" +
            Decimal(box.x + 4) + "\" y=\"" + Decimal(box.y + 12) + "\">" +
            EscapeHtml(Shortened(LabelOf(tree, cell), characters)) + "</text>\n";
  }
  return text;
}

constexpr double kChartWidth = 1200;
constexpr double kChartHeight = 220;
constexpr double kLeft = 64;
constexpr double kRight = 12;
constexpr double kTop = 12;
constexpr double kBottom = 28;

std::string TimeOf(double unix_seconds, const char* format) {
  const auto seconds = static_cast<time_t>(unix_seconds);
  struct tm parts = {};
  localtime_r(&seconds, &parts);
  char text[64];
  return std::string(text, strftime(text, sizeof text, format, &parts));
}

// Lines over time. Values are from 0 (below) to 1.
class Chart {
 public:
  Chart(const std::vector<Moment>& history, const std::string& name) : history_(history) {
    begin_ = history.front().begin;
    end_ = std::max(begin_ + 1, history.back().begin + history.back().seconds);
    text_ = "<svg class=chart role=img aria-label=\"" + name + "\" viewBox=\"0 0 " +
            Decimal(kChartWidth) + " " + Decimal(kChartHeight) + "\">\n";
    const char* const format = end_ - begin_ < 86400 ? "%H:%M:%S" : "%F %H:%M";
    constexpr int kSteps = 6;
    for (int i = 0; i <= kSteps; ++i) {
      const double time = begin_ + (end_ - begin_) * i / kSteps;
      Label(X(time), kChartHeight - 8,
            i == 0        ? "start"
            : i == kSteps ? "end"
                          : "middle",
            TimeOf(time, format));
    }
  }

  void Grid(double value, const std::string& label) {
    text_ += "<line class=axis x1=\"" + Decimal(kLeft) + "\" x2=\"" +
             Decimal(kChartWidth - kRight) + "\" y1=\"" + Decimal(Y(value)) + "\" y2=\"" +
             Decimal(Y(value)) + "\"/>\n";
    Label(kLeft - 6, Y(value) + 4, "end", label);
  }

  // `value` gives the value of a moment; below 0: it has none.
  void Line(const char* letter, const std::function<double(const Moment&)>& value) {
    std::string path;
    double before = 0;
    for (const Moment& moment : history_) {
      const double at = value(moment);
      if (at < 0) {
        continue;
      }
      const double middle = moment.begin + moment.seconds / 2;
      // Where there were no reads for long there is no line.
      const bool is_gap = path.empty() || moment.begin - before > 5 * moment.seconds + 2;
      path += (is_gap ? "M" : "L") + Decimal(X(middle)) + " " + Decimal(Y(at)) + " ";
      before = moment.begin + moment.seconds;
      text_ += std::string("<circle class=p") + letter + " r=2 cx=\"" + Decimal(X(middle)) +
               "\" cy=\"" + Decimal(Y(at)) + "\"/>\n";
    }
    text_ += std::string("<path class=l") + letter + " d=\"" + path + "\"/>\n";
  }

  std::string Take() { return text_ + "</svg>\n"; }

 private:
  double X(double time) const {
    return kLeft + (kChartWidth - kLeft - kRight) * (time - begin_) / (end_ - begin_);
  }
  static double Y(double value) {
    return kTop + (kChartHeight - kTop - kBottom) * (1 - std::clamp(value, 0.0, 1.0));
  }
  void Label(double x, double y, const char* anchor, const std::string& text) {
    text_ += std::string("<text text-anchor=") + anchor + " x=\"" + Decimal(x) + "\" y=\"" +
             Decimal(y) + "\">" + EscapeHtml(text) + "</text>\n";
  }

  const std::vector<Moment>& history_;
  double begin_ = 0;
  double end_ = 0;
  std::string text_;
};

std::string HistoryTable(const std::vector<Moment>& history) {
  // Only some of many moments: the table is for readers who can't see the drawings.
  constexpr size_t kMostRows = 24;
  const size_t step = (history.size() + kMostRows - 1) / kMostRows;
  std::string text =
      "<details><summary>The same as a table</summary><table id=history><thead><tr><th>From</th>"
      "<th class=n>Reads</th><th class=n>Hit rate</th><th class=n>Half within</th>"
      "<th class=n>99 % within</th><th class=n>Read</th></tr></thead><tbody>\n";
  for (size_t i = 0; i < history.size(); i += step) {
    const Moment& moment = history[i];
    const double looks = moment.hits + moment.misses;
    text += fmt::format(
        "<tr><td>{}</td><td class=n>{:.0f}</td><td class=n>{:.1f} %</td><td class=n>{:.3f} ms"
        "</td><td class=n>{:.3f} ms</td><td class=n>{}</td></tr>\n",
        TimeOf(moment.begin, "%F %T"), moment.reads, looks > 0 ? 100 * moment.hits / looks : 0,
        moment.p50_us / 1000, moment.p99_us / 1000,
        FormatSize(static_cast<uint64_t>(moment.served_bytes)));
  }
  return text + "</tbody></table></details>\n";
}

}  // namespace

std::string TreemapDrawing(const ReportTree& tree) {
  std::string text =
      "<svg id=treemap class=map role=img aria-label=\"Space on disk by directory\" "
      "viewBox=\"0 0 " +
      Decimal(kMapWidth) + " " + Decimal(kMapHeight) + "\"><g>\n";
  for (const TreemapCell& cell : LayTreemap(tree, {0, 0, kMapWidth, kMapHeight}, kMostCells)) {
    text += CellDrawing(tree, cell);
  }
  text += "</g></svg>\n<div class=legend><span>On disk / plain:</span>";
  for (size_t i = 0; i < kRatioNames.size(); ++i) {
    text += "<span><svg viewBox=\"0 0 14 14\"><rect class=r" + std::to_string(i) +
            " width=14 height=14 /></svg> " + kRatioNames[i] + "</span>";
  }
  return text + "</div>\n";
}

std::string HistoryCharts(const std::vector<Moment>& history) {
  Chart hits(history, "Hit rate over time");
  for (const double value : {0.0, 0.5, 1.0}) {
    hits.Grid(value, Decimal(100 * value) + " %");
  }
  hits.Line("a", [](const Moment& moment) {
    const double looks = moment.hits + moment.misses;
    return looks > 0 ? moment.hits / looks : -1.0;
  });
  // From 1 us to the first power of ten that is enough.
  double most = 1000;
  for (const Moment& moment : history) {
    most = std::max(most, moment.p99_us);
  }
  const double decades = std::ceil(std::log10(most));
  Chart times(history, "How long reads took over time");
  constexpr std::array kTimes = {"1 us",   "10 us", "100 us", "1 ms", "10 ms",
                                 "100 ms", "1 s",   "10 s",   "100 s"};
  for (size_t i = 0; i < kTimes.size() && static_cast<double>(i) <= decades; ++i) {
    times.Grid(static_cast<double>(i) / decades, kTimes[i]);
  }
  const auto scaled = [decades](double us) {
    return us <= 0 ? -1.0 : std::log10(std::max(us, 1.0)) / decades;
  };
  times.Line("a", [&](const Moment& moment) { return scaled(moment.p50_us); });
  times.Line("b", [&](const Moment& moment) { return scaled(moment.p99_us); });
  return "<h3>Hit rate: reads that found their Block decoded</h3>\n" + hits.Take() +
         "<h3>How long reads took: half of them, and 99 % of them (above)</h3>\n" + times.Take() +
         HistoryTable(history);
}

}  // namespace xzfs
