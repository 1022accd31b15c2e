#include "ctl/report/html_table.h"

#include <utility>

#include "base/units.h"
#include "ctl/report/html.h"

namespace xzfs {

HtmlTable::HtmlTable(std::string_view id, std::vector<std::string_view> titles)
    : titles_(std::move(titles)) {
  text_.append("<table id=").append(id).append("><thead><tr>");
  for (size_t i = 0; i < titles_.size(); ++i) {
    text_.append(i == 0 ? "<th>" : "<th class=n>").append(titles_[i]).append("</th>");
  }
  text_ += "</tr></thead><tbody>\n";
}

void HtmlTable::EndRow() {
  if (column_ != 0) {
    text_ += "</tr>\n";
    column_ = 0;
  }
}

void HtmlTable::BeginRow(const std::string& name, const std::string& remark) {
  EndRow();
  text_ += "<tr><td class=name>" + EscapeHtml(name) +
           (remark.empty() ? "" : "<span class=sub> " + remark + "</span>") + "</td>";
  column_ = 1;
}

void HtmlTable::Figure(const std::string& text, const std::string& attributes) {
  text_.append("<td class=n data-title=\"").append(titles_[column_]).append("\"");
  text_ += attributes + ">" + text + "</td>";
  ++column_;
}

void HtmlTable::Cell(const std::string& figure) { Figure(figure, ""); }

void HtmlTable::Size(uint64_t bytes) {
  Figure(FormatSize(bytes), " title=\"" + std::to_string(bytes) + " bytes\"");
}

void HtmlTable::Command(const std::string& command) {
  EndRow();
  text_ += "<tr class=how><td colspan=" + std::to_string(titles_.size()) + ">" +
           CommandLine(command) + "</td></tr>\n";
}

std::string HtmlTable::Take() {
  EndRow();
  return std::exchange(text_, {}) + "</tbody></table>\n";
}

std::string CommandLine(const std::string& command) {
  return "<div class=cmd><code>" + EscapeHtml(command) + "</code></div>";
}

}  // namespace xzfs
