// A table of the report.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace xzfs {

// Rows of a name and figures. On a phone, where they don't fit beside each other, each figure shows
// its column's title. Not thread-safe.
class HtmlTable {
 public:
  // `titles`: of all columns, that of the names first. They and the id are ours, not escaped.
  HtmlTable(std::string_view id, std::vector<std::string_view> titles);

  // Begins a row with its name, any bytes. `remark` is text of ours that stands beside the name.
  void BeginRow(const std::string& name, const std::string& remark = "");
  // The next figure of the row, not escaped.
  void Cell(const std::string& figure);
  // The same, as "38.2 MiB"; exact in a tooltip.
  void Size(uint64_t bytes);
  // After all cells of a row: what the reader can do about it.
  void Command(const std::string& command);

  // The table as HTML. The object is empty afterwards.
  std::string Take();

 private:
  void EndRow();
  void Figure(const std::string& text, const std::string& attributes);

  const std::vector<std::string_view> titles_;
  std::string text_;
  size_t column_ = 0;  // of the next cell; 0: no row has begun
};

// A command line on its own, which a click selects.
std::string CommandLine(const std::string& command);

}  // namespace xzfs
