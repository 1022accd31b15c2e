#include "base/fuse_host.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace xzfs {

FuseHost FuseHost::Real() {
  FuseHost host;
  host.user = geteuid();
  // libfuse first tries the path of its own build.
  host.search_path = "/usr/bin:/bin";
  if (const char* path = std::getenv("PATH")) {
    host.search_path.append(":").append(path);
  }
  return host;
}

// A line of fuse.conf counts if it has only the word; '#' begins a comment.
bool UserAllowOther(const std::string& configuration) {
  std::ifstream file(configuration);
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(line.find('#'), line.size()));
    const size_t begin = line.find_first_not_of(" \t\r");
    const size_t end = line.find_last_not_of(" \t\r");
    if (begin != std::string::npos && line.substr(begin, end - begin + 1) == "user_allow_other") {
      return true;
    }
  }
  return false;
}

std::string FindProgram(std::string_view search_path, const std::string& program) {
  while (!search_path.empty()) {
    const size_t colon = search_path.find(':');
    const std::string folder(search_path.substr(0, colon));
    if (std::string path = folder + "/" + program;
        !folder.empty() && access(path.c_str(), X_OK) == 0) {
      return path;
    }
    search_path.remove_prefix(colon == std::string_view::npos ? search_path.size() : colon + 1);
  }
  return {};
}

}  // namespace xzfs
