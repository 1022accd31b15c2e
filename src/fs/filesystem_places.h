// What operations on names work with. For the sources of Filesystem alone.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "fs/filesystem.h"

namespace xzfs {

// A name in a directory that is open.
struct Filesystem::Place {
  NodePtr dir;
  DescriptorPtr descriptor;
  std::string name;  // the logical one
  int fd() const { return descriptor->descriptor.get(); }
};

// A name that is about to go, and what was prepared for that.
struct Filesystem::Victim {
  NodePtr node;  // null if nobody knows the file
  NodeTable::Location location;
  bool last_name = false;
  struct stat attributes = {};
  DescriptorPtr open;  // of a regular file that has other names, or is used without one
};

struct Filesystem::RenameStep {
  const Place* from = nullptr;
  std::string from_name;
  const Place* to = nullptr;  // null: the name is removed
  std::string to_name;
  uint64_t inode = 0;
  int unlink_flags = 0;  // of one that is removed
};

}  // namespace xzfs
