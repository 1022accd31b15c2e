// The drawings are SVG, put together as text. They have no colours of their own: each shape has a
// class, and report_style.h says how that looks in light and dark. Classes r0 to r5 are the ranges
// of kRatios, in its order. A name that comes from a file goes through EscapeHtml, a coordinate
// through Decimal, which knows no locale.
//
// Each drawing is made three times, for screens of different widths, as its text would be too small
// on a phone if it were made smaller. The style shows one of them. A unit is about a pixel on the
// narrowest screen that a drawing is for.
//
// The treemap draws the cells of LayTreemap in their order, a frame before what is in it. A cell's
// title has its path, what it is and its figures, a line each, for readers without scripts. The
// script takes labels from there, or from data-label where the label isn't the last name of the
// path.
//
// A chart has the mount's life as its x axis, and values from 0 to 1. The times of reads are on a
// logarithmic scale, from 1 us to the power of ten above the largest figure, at least 1 ms. A line
// is broken where there were no reads for long, and has its name at its end.
#include "ctl/report/report_charts.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>
#include <functional>

#include "base/units.h"
#include "ctl/report/html.h"
#include "ctl/report/html_table.h"
#include "ctl/report/treemap.h"

namespace xzfs {
namespace {

// A drawing for one range of screen widths.
struct Screen {
  const char* name;  // the class of its drawings
  double width;
  double map_height;
  size_t most_cells;  // a reader could not tell more of them apart
  double chart_height;
  int time_steps;
};
constexpr Screen kScreens[] = {
    {"wide", 900, 500, 500, 200, 6},
    {"medium", 560, 480, 250, 180, 4},
    {"narrow", 328, 440, 100, 160, 2},
};

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

const std::string& PathOf(const ReportTree& tree, const TreemapCell& cell) {
  return cell.kind == TreemapCell::Kind::kFile ? tree.large_files[cell.file].path
                                               : tree.directories[cell.directory].path;
}

// What the cell is, where its path doesn't say so.
std::string KindOf(const TreemapCell& cell) {
  switch (cell.kind) {
    case TreemapCell::Kind::kFiles:
      return Counted(cell.usage.files, "small file", "small files");
    case TreemapCell::Kind::kOthers:
      return Counted(cell.count, "small part", "small parts");
    case TreemapCell::Kind::kFile:
    case TreemapCell::Kind::kFrame:
    case TreemapCell::Kind::kLeaf:
      break;
  }
  return "";
}

std::string LabelOf(const ReportTree& tree, const TreemapCell& cell) {
  if (std::string kind = KindOf(cell); !kind.empty()) {
    return kind;
  }
  const std::string& path = PathOf(tree, cell);
  const std::string& frame = tree.directories[cell.frame].path;
  if (path.size() <= frame.size()) {
    return path.empty() ? "." : path.substr(path.rfind('/') + 1);
  }
  return path.substr(frame.empty() ? 0 : frame.size() + 1);
}

std::string FiguresOf(const TreemapCell& cell) {
  return fmt::format(
      "{}, {} plain, {} on disk, {:.1f} %", Counted(cell.usage.files, "file", "files"),
      FormatSize(cell.usage.plain_bytes), FormatSize(cell.usage.disk_bytes),
      cell.usage.plain_bytes == 0 ? 100.0
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
  const std::string& path = PathOf(tree, cell);
  const std::string kind = KindOf(cell);
  const std::string label = LabelOf(tree, cell);
  const bool is_last_name = !path.empty() && label == path.substr(path.rfind('/') + 1);
  std::string text = "<rect class=\"" + (is_frame ? "frame" : "r" + ratio) + "\" x=\"" +
                     Decimal(box.x) + "\" y=\"" + Decimal(box.y) + "\" width=\"" +
                     Decimal(box.width) + "\" height=\"" + Decimal(box.height) + "\"" +
                     (is_last_name ? "" : " data-label=\"" + EscapeHtml(label) + "\"") +
                     "><title>" + EscapeHtml(path.empty() ? "." : path) + "\n" +
                     (kind.empty() ? "" : kind + "\n") + FiguresOf(cell) + "</title></rect>\n";
  const auto characters = static_cast<size_t>(std::max(0.0, (box.width - 8) / kCharacterWidth));
  if (characters >= 3 && box.height >= kTitleHeight) {
    text += "<text" + (is_frame ? std::string() : " class=t" + ratio) + " x=\"" +
            Decimal(box.x + 4) + "\" y=\"" + Decimal(box.y + 12) + "\">" +
            EscapeHtml(Shortened(label, characters)) + "</text>\n";
  }
  return text;
}

constexpr double kLeft = 52;
constexpr double kRight = 40;  // holds the names of the lines
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
  Chart(const std::vector<Moment>& history, const std::string& name, const Screen& screen)
      : history_(history), screen_(screen) {
    begin_ = history.front().begin;
    end_ = std::max(begin_ + 1, history.back().begin + history.back().seconds);
    text_ = std::string("<svg class=\"chart ") + screen.name + "\" role=img aria-label=\"" + name +
            "\" viewBox=\"0 0 " + Decimal(screen.width) + " " + Decimal(screen.chart_height) +
            "\">\n";
    const char* const format = end_ - begin_ < 86400 ? "%H:%M:%S" : "%F %H:%M";
    const int steps = screen.time_steps;
    for (int i = 0; i <= steps; ++i) {
      const double time = begin_ + (end_ - begin_) * i / steps;
      Label(X(time), screen_.chart_height - 8,
            i == 0       ? "start"
            : i == steps ? "end"
                         : "middle",
            TimeOf(time, format));
    }
  }

  void Grid(double value, const std::string& label) {
    text_ += "<line class=axis x1=\"" + Decimal(kLeft) + "\" x2=\"" +
             Decimal(screen_.width - kRight) + "\" y1=\"" + Decimal(Y(value)) + "\" y2=\"" +
             Decimal(Y(value)) + "\"/>\n";
    Label(kLeft - 6, Y(value) + 4, "end", label);
  }

  // `value` gives the value of a moment; below 0: it has none. `name` stands at the line's end; a
  // later line's name is put above the one before if they would be on each other.
  void Line(const char* letter, const std::string& name,
            const std::function<double(const Moment&)>& value) {
    std::string path;
    double before = 0;
    double last = -1;
    for (const Moment& moment : history_) {
      const double at = value(moment);
      if (at < 0) {
        continue;
      }
      const double middle = moment.begin + moment.seconds / 2;
      // Where there were no reads for long there is no line.
      const bool is_gap = path.empty() || moment.begin - before > 5 * moment.seconds + 2;
      // A line of no length shows as a dot, should the moment stay alone.
      path +=
          (is_gap ? "M" : "L") + Decimal(X(middle)) + " " + Decimal(Y(at)) + (is_gap ? "h0" : "");
      before = moment.begin + moment.seconds;
      last = at;
    }
    text_ += std::string("<path class=l") + letter + " d=\"" + path + "\"/>\n";
    if (last >= 0 && !name.empty()) {
      constexpr double kLineHeight = 14;
      name_y_ = std::min(Y(last) + 4, name_y_ - kLineHeight);
      text_ += std::string("<text class=n") + letter + " x=\"" +
               Decimal(screen_.width - kRight + 6) + "\" y=\"" + Decimal(name_y_) + "\">" +
               EscapeHtml(name) + "</text>\n";
    }
  }

  std::string Take() { return text_ + "</svg>\n"; }

 private:
  double X(double time) const {
    return kLeft + (screen_.width - kLeft - kRight) * (time - begin_) / (end_ - begin_);
  }
  double Y(double value) const {
    return kTop + (screen_.chart_height - kTop - kBottom) * (1 - std::clamp(value, 0.0, 1.0));
  }
  void Label(double x, double y, const char* anchor, const std::string& text) {
    text_ += std::string("<text text-anchor=") + anchor + " x=\"" + Decimal(x) + "\" y=\"" +
             Decimal(y) + "\">" + EscapeHtml(text) + "</text>\n";
  }

  const std::vector<Moment>& history_;
  const Screen& screen_;
  double name_y_ = 1e9;  // of the name of the line before
  double begin_ = 0;
  double end_ = 0;
  std::string text_;
};

std::string HistoryTable(const std::vector<Moment>& history) {
  // Only some of many moments: the table is for readers who can't see the drawings.
  constexpr size_t kMostRows = 24;
  const size_t step = (history.size() + kMostRows - 1) / kMostRows;
  std::string text = "<details><summary>The same as a table</summary>\n";
  HtmlTable table("history", {"From", "Reads", "Hit rate", "Half within", "99 % within", "Read"});
  for (size_t i = 0; i < history.size(); i += step) {
    const Moment& moment = history[i];
    const double looks = moment.hits + moment.misses;
    table.BeginRow(TimeOf(moment.begin, "%F %T"));
    table.Cell(fmt::format("{:.0f}", moment.reads));
    table.Cell(fmt::format("{:.1f} %", looks > 0 ? 100 * moment.hits / looks : 0));
    table.Cell(fmt::format("{:.3f} ms", moment.p50_us / 1000));
    table.Cell(fmt::format("{:.3f} ms", moment.p99_us / 1000));
    table.Size(static_cast<uint64_t>(moment.served_bytes));
  }
  return text + table.Take() + "</details>\n";
}

std::string HitChart(const std::vector<Moment>& history, const Screen& screen) {
  Chart hits(history, "Hit rate over time", screen);
  for (const double value : {0.0, 0.5, 1.0}) {
    hits.Grid(value, Decimal(100 * value) + " %");
  }
  hits.Line("a", "", [](const Moment& moment) {
    const double looks = moment.hits + moment.misses;
    return looks > 0 ? moment.hits / looks : -1.0;
  });
  return hits.Take();
}

std::string TimesChart(const std::vector<Moment>& history, const Screen& screen) {
  // From 1 us to the first power of ten that is enough.
  double most = 1000;
  for (const Moment& moment : history) {
    most = std::max(most, moment.p99_us);
  }
  const double decades = std::ceil(std::log10(most));
  Chart times(history, "How long reads took over time", screen);
  constexpr std::array kTimes = {"1 us",   "10 us", "100 us", "1 ms", "10 ms",
                                 "100 ms", "1 s",   "10 s",   "100 s"};
  for (size_t i = 0; i < kTimes.size() && static_cast<double>(i) <= decades; ++i) {
    times.Grid(static_cast<double>(i) / decades, kTimes[i]);
  }
  const auto scaled = [decades](double us) {
    return us <= 0 ? -1.0 : std::log10(std::max(us, 1.0)) / decades;
  };
  times.Line("a", "half", [&](const Moment& moment) { return scaled(moment.p50_us); });
  times.Line("b", "99 %", [&](const Moment& moment) { return scaled(moment.p99_us); });
  return times.Take();
}

std::string MapDrawing(const ReportTree& tree, const Screen& screen) {
  std::string text = std::string("<svg class=\"map ") + screen.name +
                     "\" role=img aria-label=\"Space on disk by directory\" viewBox=\"0 0 " +
                     Decimal(screen.width) + " " + Decimal(screen.map_height) + "\"><g>\n";
  const Box box{0, 0, screen.width, screen.map_height};
  for (const TreemapCell& cell : LayTreemap(tree, box, screen.most_cells)) {
    text += CellDrawing(tree, cell);
  }
  return text + "</g></svg>\n";
}

}  // namespace

std::string TreemapDrawing(const ReportTree& tree) {
  std::string text;
  for (const Screen& screen : kScreens) {
    text += MapDrawing(tree, screen);
  }
  text += "<div class=legend><span>On disk / plain:</span>";
  for (size_t i = 0; i < kRatioNames.size(); ++i) {
    text += "<span><svg viewBox=\"0 0 14 14\"><rect class=r" + std::to_string(i) +
            " width=14 height=14 /></svg> " + kRatioNames[i] + "</span>";
  }
  return text + "</div>\n";
}

std::string HistoryCharts(const std::vector<Moment>& history) {
  std::string text = "<h3>Hit rate: reads that found their Block decoded</h3>\n";
  for (const Screen& screen : kScreens) {
    text += HitChart(history, screen);
  }
  text += "<h3>How long reads took: half of them, and 99 % of them, at most</h3>\n";
  for (const Screen& screen : kScreens) {
    text += TimesChart(history, screen);
  }
  return text + HistoryTable(history);
}

}  // namespace xzfs
