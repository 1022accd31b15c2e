// Which files of a tree belong together, by their names.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace xzfs {

// What files of one kind have in common.
struct KindName {
  enum class Form {
    kNone,    // no ending: `text` is empty
    kEnding,  // `text` is the ending, in lower case: ".log"
    kSeries,  // `text` is the name before the number or date: "syslog", of "syslog.1"
  };
  Form form = Form::kNone;
  std::string text = {};

  auto operator<=>(const KindName&) const = default;
};

// `name` without the numbers and dates that rotating a log adds: "app.log" for "app.log.2",
// "app.log-20260131" and "app.log.2026-01-31". All of `name` if there are none. Names are bytes.
std::string_view RotationStem(std::string_view name);

// Whether `name`, which is of the kind, has a number or a date behind the ending.
bool IsRotated(std::string_view name, const KindName& kind);

// The kinds of the files in one directory. Immutable.
class DirectoryKinds {
 public:
  // `names`: all logical names in the directory.
  explicit DirectoryKinds(const std::vector<std::string>& names);

  // A rotated file is of the kind of the file that it was: "app.log.2" has the ending ".log". If
  // that has no ending, as "syslog", it and its rotated files are a series. A lone number, as in
  // "ls.1", is an ending like any other.
  KindName Of(const std::string& name) const;

 private:
  // Names without an ending that have rotated files, and at least two files.
  std::unordered_set<std::string> series_;
};

}  // namespace xzfs
