// First it chooses which directories are opened: always the largest, as long as there are cells
// left. Then each opened one divides its box among what is in it by the squarified algorithm
// (Bruls, Huizing, van Wijk): rows along the shorter side, as long as that makes the cells more
// square.
#include "ctl/report/treemap.h"

#include <algorithm>
#include <queue>
#include <unordered_set>
#include <utility>

namespace xzfs {
namespace {

// Smaller parts of a directory share a cell.
constexpr double kLeastShare = 0.004;
constexpr size_t kMostPerDirectory = 40;
constexpr double kGap = 2;
// A smaller box isn't divided: nobody could see what is in it.
constexpr double kLeastSide = 28;

TreemapCell FileCell(const ReportTree& tree, size_t file, size_t frame) {
  const ReportFile& found = tree.large_files[file];
  return {.kind = TreemapCell::Kind::kFile,
          .directory = found.directory,
          .frame = frame,
          .file = file,
          .usage = {1, found.plain_bytes, found.disk_bytes}};
}

// A directory, or the only file in it.
TreemapCell DirectoryCell(const ReportTree& tree, size_t child, size_t frame) {
  const size_t end = EndOfChain(tree, child);
  const ReportDirectory& directory = tree.directories[end];
  if (directory.all.files == 1 && directory.large_files.size() == 1) {
    return FileCell(tree, directory.large_files[0], frame);
  }
  return {.directory = end, .frame = frame, .usage = directory.all};
}

// What is in a directory, the largest first.
std::vector<TreemapCell> PartsOf(const ReportTree& tree, size_t number) {
  const ReportDirectory& directory = tree.directories[number];
  std::vector<TreemapCell> parts;
  TreemapCell files{.kind = TreemapCell::Kind::kFiles,
                    .directory = number,
                    .frame = number,
                    .usage = directory.own};
  for (const size_t file : directory.large_files) {
    const TreemapCell cell = FileCell(tree, file, number);
    if (cell.usage.disk_bytes != 0) {
      parts.push_back(cell);
      files.usage.Subtract(cell.usage);
    }
  }
  if (files.usage.disk_bytes != 0) {
    parts.push_back(files);
  }
  for (const size_t child : directory.children) {
    if (tree.directories[child].all.disk_bytes != 0) {
      parts.push_back(DirectoryCell(tree, child, number));
    }
  }
  const auto larger = [](const TreemapCell& a, const TreemapCell& b) {
    return a.usage.disk_bytes > b.usage.disk_bytes;
  };
  std::stable_sort(parts.begin(), parts.end(), larger);
  const double least = kLeastShare * static_cast<double>(directory.all.disk_bytes);
  TreemapCell others{.kind = TreemapCell::Kind::kOthers, .directory = number, .frame = number};
  while (parts.size() > kMostPerDirectory ||
         (parts.size() > 1 && static_cast<double>(parts.back().usage.disk_bytes) < least)) {
    others.usage.Add(parts.back().usage);
    ++others.count;
    parts.pop_back();
  }
  if (others.count != 0) {
    parts.insert(std::upper_bound(parts.begin(), parts.end(), others, larger), others);
  }
  return parts;
}

// Whether a frame with these parts in it shows more than the directory alone would.
bool IsWorthAFrame(const std::vector<TreemapCell>& parts) {
  return std::any_of(parts.begin(), parts.end(), [](const TreemapCell& part) {
    return part.kind == TreemapCell::Kind::kLeaf || part.kind == TreemapCell::Kind::kFile;
  });
}

double AreaOf(const TreemapCell& cell) { return static_cast<double>(cell.usage.disk_bytes); }

// The worst ratio of sides in a row that is `side` long; areas are those in the drawing.
double WorstRatio(double least, double most, double sum, double side) {
  const double across = sum / side;
  return std::max(most / across / across, across * across / least);
}

// Gives each of `cells` its part of `box`.
void Squarify(std::vector<TreemapCell>& cells, Box box) {
  double left = 0;
  for (const TreemapCell& cell : cells) {
    left += AreaOf(cell);
  }
  for (size_t begin = 0; begin < cells.size();) {
    const double side = std::min(box.width, box.height);
    const double scale = left <= 0 ? 0 : box.width * box.height / left;
    if (side <= 0 || scale <= 0) {
      return;  // no room: they stay without a box
    }
    double sum = AreaOf(cells[begin]) * scale;
    const double most = sum;
    size_t end = begin + 1;
    double worst = WorstRatio(most, most, sum, side);
    for (; end < cells.size(); ++end) {
      const double area = AreaOf(cells[end]) * scale;
      const double next = WorstRatio(area, most, sum + area, side);
      if (next > worst) {
        break;
      }
      worst = next;
      sum += area;
    }
    const double across = sum / side;
    const bool is_wide = box.width >= box.height;
    double at = 0;
    for (; begin < end; ++begin) {
      const double along = AreaOf(cells[begin]) * scale / across;
      cells[begin].box =
          is_wide ? Box{box.x, box.y + at, across, along} : Box{box.x + at, box.y, along, across};
      at += along;
      left -= AreaOf(cells[begin]);
    }
    (is_wide ? box.x : box.y) += across;
    (is_wide ? box.width : box.height) -= across;
  }
}

class Treemap {
 public:
  Treemap(const ReportTree& tree, size_t most) : tree_(tree) { ChooseOpened(most); }

  void Lay(TreemapCell cell) {
    const bool is_open = cell.kind == TreemapCell::Kind::kLeaf && opened_.contains(cell.directory);
    const Box inner{cell.box.x + kGap, cell.box.y + kTitleHeight, cell.box.width - 2 * kGap,
                    cell.box.height - kTitleHeight - kGap};
    if (!is_open || inner.width < kLeastSide || inner.height < kLeastSide) {
      cells_.push_back(cell);
      return;
    }
    std::vector<TreemapCell> parts = PartsOf(tree_, cell.directory);
    Squarify(parts, inner);
    cell.kind = TreemapCell::Kind::kFrame;
    cells_.push_back(cell);
    for (const TreemapCell& part : parts) {
      Lay(part);
    }
  }

  std::vector<TreemapCell> TakeCells() { return std::move(cells_); }

 private:
  void ChooseOpened(size_t most) {
    std::priority_queue<std::pair<uint64_t, size_t>> largest;
    largest.emplace(tree_.directories[0].all.disk_bytes, 0);
    size_t cells = 1;
    while (!largest.empty()) {
      const size_t number = largest.top().second;
      largest.pop();
      const std::vector<TreemapCell> parts = PartsOf(tree_, number);
      if (!IsWorthAFrame(parts) || cells + parts.size() > most) {
        continue;
      }
      opened_.insert(number);
      cells += parts.size();
      for (const TreemapCell& part : parts) {
        if (part.kind == TreemapCell::Kind::kLeaf) {
          largest.emplace(part.usage.disk_bytes, part.directory);
        }
      }
    }
  }

  const ReportTree& tree_;
  std::unordered_set<size_t> opened_;
  std::vector<TreemapCell> cells_;
};

}  // namespace

std::vector<TreemapCell> LayTreemap(const ReportTree& tree, const Box& box, size_t most) {
  Treemap treemap(tree, most);
  treemap.Lay({.directory = 0, .usage = tree.directories[0].all, .box = box});
  return treemap.TakeCells();
}

}  // namespace xzfs
