// Rectangles for directories and large files, in proportion to what they take on the disk.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ctl/report/report_tree.h"

namespace xzfs {

struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

// One rectangle: a directory, a file, or the rest of what is in a directory.
struct TreemapCell {
  enum class Kind {
    kFrame,   // a directory with the cells of what is in it
    kLeaf,    // a directory and all that is below it
    kFile,    // one large file
    kFiles,   // the files that are directly in it and have no cells of their own
    kOthers,  // small parts of it
  };
  Kind kind = Kind::kLeaf;
  size_t directory = 0;  // the one that it is, or is in
  size_t frame = 0;      // the directory whose frame it is in
  size_t file = 0;       // kFile: its number in ReportTree::large_files
  Usage usage = {};
  size_t count = 0;  // kOthers: how many
  Box box = {};
};

// As many cells as make sense, the largest directories in most detail, at most `most`. Directories
// in which there is nothing except one directory or one file have no cell of their own. A frame
// comes before the cells in it. The areas of the cells in one frame are in proportion to their
// disk_bytes.
std::vector<TreemapCell> LayTreemap(const ReportTree& tree, const Box& box, size_t most);

// Height of a frame's title.
inline constexpr double kTitleHeight = 16;

}  // namespace xzfs
