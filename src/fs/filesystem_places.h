// What operations on names work with. For the sources of Filesystem alone.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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

// Tells the overlay of an edited file, before the lock is taken that all names wait for, that its
// base is about to go: that is on the disk then. Takes it back when it goes out of scope, if the
// file is still there. Not thread-safe.
class Filesystem::RemovalNote {
 public:
  explicit RemovalNote(Filesystem& fs) : fs_(fs) {}
  ~RemovalNote();
  RemovalNote(const RemovalNote&) = delete;
  RemovalNote& operator=(const RemovalNote&) = delete;

  // For the last name of an edited file; does nothing for another one. Blocks: until it is on the
  // disk. No lock is held.
  void Make(NodeId parent, const std::string& name);

 private:
  Filesystem& fs_;
  NodePtr node_;  // null: nothing was noted
};

struct Filesystem::RenameStep {
  const Place* from = nullptr;
  std::string from_name;
  const Place* to = nullptr;  // null: the name is removed
  std::string to_name;
  uint64_t inode = 0;
  int unlink_flags = 0;  // of one that is removed
};

// What RENAME_WHITEOUT leaves under the old name: a character device 0/0, by which overlayfs knows
// that a file was removed. Its name in the source may be another one than that which became free
// (of `a.xz` moves `a`, and the device is `a`), so it is made beforehand, in the session's folder,
// and an intent says where it goes. Not thread-safe.
struct Filesystem::RenameWhiteout {
  explicit RenameWhiteout(Filesystem& filesystem) : fs(filesystem) {}
  // Whether all is there for `from` to become a whiteout; else Prepare has to make it. To be asked
  // under the names' lock.
  Result<bool> IsReady(const Place& from, const Place& to);
  // Blocks: until it is on the disk. No lock is held.
  Status Prepare();
  // After the rename, under the same lock.
  Status PutInto(const Place& from, const Place& to);
  // It was not needed.
  void Drop();

  Filesystem& fs;
  ZonePtr zone;  // of both names
  std::shared_ptr<Session> session;
  std::string temp;    // the device, in the session's folder; empty: there is none
  std::string intent;  // likewise
  std::string stored_name;
  std::vector<IntentStep> steps;     // that the intent says
  std::vector<IntentStep> to_write;  // that it should
  bool is_needed = false;
};

}  // namespace xzfs
