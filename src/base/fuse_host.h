// What a machine has for mounting with FUSE.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace xzfs {

// Where to look, and for whom; tests replace it.
struct FuseHost {
  uid_t user = 0;
  std::string device = "/dev/fuse";
  std::string configuration = "/etc/fuse.conf";
  // The directories of fusermount3, as in PATH.
  std::string search_path;

  static FuseHost Real();
};

// Whether the configuration lets ordinary users give the option allow_other.
bool UserAllowOther(const std::string& configuration);

// The path of the first executable file of that name; empty if there is none. `search_path`: as in
// PATH.
std::string FindProgram(std::string_view search_path, const std::string& program);

}  // namespace xzfs
