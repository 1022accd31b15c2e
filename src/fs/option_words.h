// Words in -o that aren't options of xzfs, and yet come often.
#pragma once

#include <string_view>

namespace xzfs {

// Words that are for those who read fstab (mount(8), systemd, desktops), of which mount(8) hands
// some on; and options of other FUSE file systems that ask for what happens anyway.
bool IsForOthers(std::string_view name);

// For an option that others have and we don't: what to do instead, in a few words. "" for all else.
std::string_view AdviceFor(std::string_view name);

}  // namespace xzfs
