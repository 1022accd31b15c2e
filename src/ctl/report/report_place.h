// Which tree a report is about.
#pragma once

#include <string>

namespace xzfs {

// For the page's head, and for the commands that it suggests.
struct ReportPlace {
  std::string path = {};  // absolute, without symlinks
  std::string host = {};
  std::string date = {};  // when the page was made
  // Where the stored files are: `path`, or for a mount the same directory of its source.
  std::string stored_path = {};
  // The mount covers its own source: commands for stored files need it unmounted.
  bool is_covered = false;
};

// What is known about the tree at `path`, a directory that can be listed, on this machine and now.
ReportPlace PlaceOf(const std::string& path);

}  // namespace xzfs
