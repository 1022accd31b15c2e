// How much space a tree of files takes, for the report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/os.h"
#include "ctl/report/report_kinds.h"
#include "ctl/report/scan_progress.h"
#include "ctl/shell/console.h"
#include "xzfs/result.h"

namespace xzfs {

struct Usage {
  uint64_t files = 0;
  uint64_t plain_bytes = 0;  // as programs see them
  uint64_t disk_bytes = 0;   // allocated on the disk
  void Add(const Usage& other) {
    files += other.files;
    plain_bytes += other.plain_bytes;
    disk_bytes += other.disk_bytes;
  }
  // REQUIRES: `other` is a part of this.
  void Subtract(const Usage& other) {
    files -= other.files;
    plain_bytes -= other.plain_bytes;
    disk_bytes -= other.disk_bytes;
  }
};

struct ReportDirectory {
  std::string path;  // below the root; "" is the root
  size_t parent = 0;
  std::vector<size_t> children = {};
  // Numbers in ReportTree::large_files, the largest first.
  std::vector<size_t> large_files = {};
  Usage own = {};  // of the files that are in it
  Usage all = {};  // and below it
};

// The files of one kind that are not compressed.
struct ReportKind {
  Usage usage = {};
  bool has_rotated = false;  // only of KindName::Form::kEnding
  // Whole paths of some, to be sampled: chosen by chance, large ones more likely.
  std::vector<std::pair<double, std::string>> chosen;
  double ratio = 1;  // compressed / plain, by samples
};

struct ReportFile {
  std::string path = {};         // below the root
  std::string stored_path = {};  // the same of the stored file, if the tree is in a mount
  size_t directory = 0;
  uint64_t plain_bytes = 0;
  uint64_t disk_bytes = 0;
  uint64_t largest_block = 0;
};

struct ReportTree {
  std::vector<ReportDirectory> directories;  // the first one is the root
  std::map<KindName, ReportKind> plain_kinds;
  // Compressed files that `xzfsctl reblock` makes quicker to read in, the largest Blocks first: at
  // most 20.
  std::vector<ReportFile> slow_files;
  uint64_t slow_count = 0;
  // Plain files, the largest first: at most 20.
  std::vector<ReportFile> plain_files;
  // All files, those that take most of the disk first: at most 500.
  std::vector<ReportFile> large_files;
  uint64_t unreadable = 0;
};

// The directory that a reader sees for `number`: as long as nothing is in one except one directory
// with files, that one.
size_t EndOfChain(const ReportTree& tree, size_t number);

// Walks through the tree at `root`, which is a directory of .xz files or lies in a mount of xzfs,
// on one file system, following no symlinks. Files that can't be looked at are counted and
// reported. Errors: the root can't be listed.
Result<ReportTree> ScanTree(Os& os, const std::string& root, Console& console,
                            ScanProgress& progress);

// Compresses a part of some files of each kind that matters, to estimate their compressed size.
void EstimateRatios(ReportTree& tree, ScanProgress& progress);

}  // namespace xzfs
