// Rectangles for directories, in proportion to what they take on the disk.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ctl/report/report_tree.h"

namespace xzfs {

struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

// One rectangle: a directory, or a part of one.
struct TreemapCell {
  enum class Kind {
    kFrame,   // a directory with the cells of what is in it
    kLeaf,    // a directory and all that is below it
    kFiles,   // the files that are directly in it
    kOthers,  // small directories in it
  };
  Kind kind = Kind::kLeaf;
  size_t directory = 0;  // the one that it is, or is in
  size_t depth = 0;
  Usage usage = {};
  size_t count = 0;  // kOthers: how many
  Box box = {};
};

// As many cells as make sense, the largest directories in most detail, at most `most`. A frame
// comes before the cells in it. The areas of the cells in one frame are in proportion to their
// disk_bytes.
std::vector<TreemapCell> LayTreemap(const ReportTree& tree, const Box& box, size_t most);

// Height of a frame's title.
inline constexpr double kTitleHeight = 16;

}  // namespace xzfs
