// Text in columns.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace xzfs {

// Lines of cells that stand below each other. Columns are as wide as they were made: a longer cell
// pushes the rest of its line to the right. Immutable.
class Table {
 public:
  enum class Align { kLeft, kRight };  // text, numbers
  struct Column {
    int width;  // in bytes
    Align align = Align::kRight;
  };

  // `indent`: blanks before each line.
  explicit Table(std::vector<Column> columns, int indent = 0)
      : columns_(std::move(columns)), indent_(indent) {}

  // One line, with its newline: a cell for each column, and after two blanks `rest`, which has no
  // column, such as a name of any length.
  std::string Line(const std::vector<std::string>& cells, const std::string& rest) const {
    return Cells(cells) + "  " + rest + "\n";
  }
  std::string Line(const std::vector<std::string>& cells) const { return Cells(cells) + "\n"; }

 private:
  // REQUIRES: as many cells as columns.
  std::string Cells(const std::vector<std::string>& cells) const;

  const std::vector<Column> columns_;
  const int indent_;
};

}  // namespace xzfs
