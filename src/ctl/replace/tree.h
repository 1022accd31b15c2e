// The files that the command line names, and those in the directories that it names.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/os.h"
#include "ctl/shell/arguments.h"
#include "xzfs/result.h"

namespace xzfs {

// A directory that is open. Immutable.
struct OpenDir {
  Descriptor descriptor;
  std::string path;  // as it is shown; "" for the working directory of a file named without one
  struct stat attributes = {};
  std::shared_ptr<const OpenDir> root;  // the directory that was named; null: this is it
  bool in_mount = false;                // of xzfs: its files are shown as what is in them

  int fd() const { return descriptor.get(); }
  std::string PathOf(const std::string& name) const {
    return path.empty() || path.ends_with('/') ? path + name : path + "/" + name;
  }
};
using OpenDirPtr = std::shared_ptr<const OpenDir>;

// A regular file.
struct FoundFile {
  OpenDirPtr dir;
  std::string name;
  struct stat attributes = {};
  bool is_named = false;  // on the command line, not found in a tree

  std::string path() const { return dir->PathOf(name); }
};

// What is left out of a tree.
struct TreeRules {
  // Globs of names, or of paths below the named directory if they have a slash. What the command
  // line names is never left out.
  std::vector<std::string> excludes;
  bool one_file_system = false;
  // The command that works on stored files only, such as "pack": mounts of xzfs are then an error,
  // whose message says what to type. Empty: the walk enters mounts.
  std::string only_stored_for;

  void Declare(Arguments& arguments);
};

// Gets the path, and why it is left out; the error names the path.
using OnWalkError = std::function<void(const std::string& path, const Error& error)>;

// Walks over `paths`: files, and directories with all in them, in the order of names. In a tree it
// follows no symlinks. One of `paths` may be a symlink to a directory, but not to a file. Our
// folders `.xzfs` are left out; `on_private`, which may be null, gets the directory that has one.
// `on_error` gets what can't be looked at; the walk goes on. Ends early when `cancelled` is set.
// Holds as many descriptors as the tree is deep. Blocks.
void WalkTrees(Os& os, const TreeRules& rules, const std::vector<std::string>& paths,
               const std::atomic<bool>& cancelled, const std::function<void(FoundFile)>& visit,
               const OnWalkError& on_error,
               const std::function<void(const OpenDir&)>& on_private = nullptr);

}  // namespace xzfs
