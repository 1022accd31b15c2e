// What is known of a mount's options outside of the daemon.
#pragma once

#include <span>
#include <string_view>

namespace xzfs {

// The options that can change while the mount runs.
std::span<const std::string_view> LiveOptionNames();

// Values that completion offers for an option, separated by blanks; "" if there are none to offer.
// An option that takes words has all of them here; of sizes and times there are useful ones.
std::string_view OptionValues(std::string_view option);

}  // namespace xzfs
