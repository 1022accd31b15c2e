#include "ctl/shell/table.h"

#include <fmt/core.h>

#include <cassert>

namespace xzfs {

std::string Table::Cells(const std::vector<std::string>& cells) const {
  assert(cells.size() == columns_.size());
  std::string text(static_cast<size_t>(indent_), ' ');
  for (size_t i = 0; i < columns_.size(); ++i) {
    text += i == 0 ? "" : " ";
    text += columns_[i].align == Align::kLeft ? fmt::format("{:<{}}", cells[i], columns_[i].width)
                                              : fmt::format("{:>{}}", cells[i], columns_[i].width);
  }
  return text;
}

}  // namespace xzfs
