#include "ctl/replace/link_groups.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

#include "base/try.h"
#include "store/directory_reader.h"

namespace xzfs {
namespace {

// The directory `below` of `base`, as the walk would open it.
Result<OpenDirPtr> OpenBelow(Os& os, const OpenDirPtr& base, std::string_view below) {
  auto dir = std::make_shared<OpenDir>();
  dir->path = base->PathOf(std::string(below));
  dir->root = base;
  while (!below.empty()) {
    const std::string name(below.substr(0, below.find('/')));
    below.remove_prefix(std::min(below.size(), name.size() + 1));
    const int at = dir->descriptor.valid() ? dir->fd() : base->fd();
    const int fd = os.OpenBeneath(at, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
      return FailErrno(-fd, "open " + dir->path);
    }
    dir->descriptor = Descriptor(os, fd);
  }
  if (const int error = os.FStat(dir->fd(), &dir->attributes); error < 0) {
    return FailErrno(-error, "stat " + dir->path);
  }
  return dir;
}

}  // namespace

Result<std::vector<FoundFile>> LinkGroups::Add(FoundFile file) {
  const std::pair<dev_t, ino_t> key(file.attributes.st_dev, file.attributes.st_ino);
  std::vector<Name>& names = groups_[key];
  const ino_t dir_inode = file.dir->attributes.st_ino;
  const bool known = std::any_of(names.begin(), names.end(), [&](const Name& name) {
    return name.file.name == file.name && name.dir_inode == dir_inode;
  });
  if (known) {  // it was named twice
    return {};
  }
  const OpenDirPtr dir = std::exchange(file.dir, nullptr);
  Name name = {.base = dir, .below = "", .file = std::move(file), .dir_inode = dir_inode};
  if (dir->root != nullptr && dir->root != dir) {
    name.base = dir->root;
    name.below = dir->path.substr(dir->root->path.size());
    name.below.erase(0, name.below.find_first_not_of('/'));
  }
  names.push_back(std::move(name));
  if (names.size() < names.front().file.attributes.st_nlink) {
    return {};
  }
  std::vector<Name> all = std::move(names);
  groups_.erase(key);
  std::vector<FoundFile> files;
  for (Name& one : all) {
    one.file.dir = one.base;
    if (!one.below.empty()) {
      XZFS_ASSIGN_OR_RETURN(one.file.dir, OpenBelow(os_, one.base, one.below));
    }
    files.push_back(std::move(one.file));
  }
  return files;
}

void LinkGroups::ForEachLeft(const std::function<void(const std::string&, bool)>& visit) const {
  for (const auto& [inode, names] : groups_) {
    for (const Name& name : names) {
      visit(name.base->PathOf(JoinPath(name.below, name.file.name)), name.file.is_named);
    }
  }
}

}  // namespace xzfs
