// Words in -o that are often given and are no options of xzfs.
#pragma once

#include <string_view>

namespace xzfs {

// Whether to ignore the word. Some are for programs that read fstab (mount(8), systemd, desktops),
// and mount(8) passes a few of them on. Others are options of other FUSE file systems that ask for
// what xzfs always does.
bool IsForOthers(std::string_view name);

// For an option that other file systems have and xzfs has not: what to do instead, in a few words.
// "" for all other words.
std::string_view AdviceFor(std::string_view name);

}  // namespace xzfs
