// Files with several names, until all of them are found.
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

// Of one walk over trees. Holds no directory open but those that were named: the names of a file
// may be in as many directories as there are.
class LinkGroups {
 public:
  explicit LinkGroups(Os& os) : os_(os) {}

  // Takes a name of a file that has several. All its names when this was the last that was missing,
  // with the attributes of the first; else none. Errors: of opening the directories again.
  Result<std::vector<FoundFile>> Add(FoundFile file);

  // Names of files that have others, too, which were not found. For `visit`: the path, and whether
  // it was named on the command line.
  void ForEachLeft(const std::function<void(const std::string&, bool)>& visit) const;

 private:
  struct Name {
    OpenDirPtr base;    // the directory that was named
    std::string below;  // the path from there to the name's directory; "": it is that
    FoundFile file;     // without its directory
    ino_t dir_inode = 0;
  };

  Os& os_;
  std::map<std::pair<dev_t, ino_t>, std::vector<Name>> groups_;
};

}  // namespace xzfs
