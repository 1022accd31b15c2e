// Collects the names of files that have several.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/os.h"
#include "ctl/replace/tree.h"
#include "xzfs/result.h"

namespace xzfs {

// For one walk over trees. It holds only those directories open that the command line names, since
// the names of files may be in any number of directories.
class LinkGroups {
 public:
  explicit LinkGroups(Os& os) : os_(os) {}

  // Adds a name of a file that has several. Returns all its names, with the attributes of the
  // first, if this was the last that was missing; else none. Errors: what opening the directories
  // again says.
  Result<std::vector<FoundFile>> Add(FoundFile file);

  // Visits the names of each file that has other names which were not found. `visit` gets the path,
  // and whether the command line names it.
  void ForEachLeft(const std::function<void(const std::string&, bool)>& visit) const;

 private:
  struct Name {
    OpenDirPtr base;    // the directory that was named
    std::string below;  // the path from there to the name's directory; "": it is the same
    FoundFile file;     // without its directory
    ino_t dir_inode = 0;
  };

  Os& os_;
  std::map<std::pair<dev_t, ino_t>, std::vector<Name>> groups_;
};

}  // namespace xzfs
