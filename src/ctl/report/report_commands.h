// The command lines that the report suggests.
#pragma once

#include <string>
#include <string_view>

#include "ctl/report/report_kinds.h"

namespace xzfs {

// `text`, any bytes except 0, as one word for sh. What a page can't show or a clipboard may change
// (control characters, odd blanks, bytes that aren't UTF-8) is written as $'\NNN', which bash, zsh
// and ksh know.
std::string ShellWord(std::string_view text);

// Packs the files of one kind in the tree at `root`, an absolute path. `is_rotated`: there are
// rotated files of an ending.
std::string PackKindCommand(const std::string& root, const KindName& kind, bool is_rotated);

}  // namespace xzfs
