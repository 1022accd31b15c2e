#include "fs/places.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <utility>

#include "base/caller.h"
#include "base/try.h"
#include "fs/borders.h"
#include "fs/name_limits.h"
#include "store/names.h"

namespace xzfs {

Places::Places(NodeTree& tree, ZoneTable& zones, Borders& borders, NameLimits& limits, Os& os)
    : tree_(tree),
      nodes_(tree.nodes()),
      names_(tree.names()),
      zones_(zones),
      borders_(borders),
      limits_(limits),
      os_(os) {}

Status Places::PrepareToName(NodeId parent) {
  XZFS_RETURN_IF_ERROR(borders_.EnterDirectory(parent));
  return zones_.RequireWritableAt(parent);
}

Result<Place> Places::PlaceAt(NodeId parent, const std::string& name) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr dir, tree_.FindNode(parent));
  if (dir->kind != StoredKind::kDirectory) {
    return Fail(ENOTDIR, nodes_.PathOf(parent) + " is not a directory");
  }
  if (dir->is_removed) {
    return Fail(ENOENT, nodes_.PathOf(parent) + " was removed");
  }
  if (name.size() > NAME_MAX) {
    return Fail(ENAMETOOLONG, "a name of " + std::to_string(name.size()) + " bytes");
  }
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos) {
    return Fail(EINVAL, "'" + name + "' is not a valid name");
  }
  XZFS_ASSIGN_OR_RETURN(DescriptorPtr descriptor, tree_.OpenNode(dir));
  if (borders_.IsPrivate(parent, descriptor->descriptor.get(), name)) {
    return Fail(EPERM, "the name .xzfs is the mount's own");
  }
  return Place{dir, std::move(descriptor), name};
}

Result<std::optional<StoredEntry>> Places::EntryAt(const Place& place) {
  auto entry = names_.Lookup(place.fd(), place.name);
  if (!entry) {
    return entry.error().code == ENOENT ? Result<std::optional<StoredEntry>>(std::nullopt)
                                        : Failure(entry.error());
  }
  return std::optional(std::move(*entry));
}

Result<std::string> Places::StoredNameFor(const Place& place, const StoredEntry& entry,
                                          const StoredEntry* replaced) {
  const std::string& logical = place.name;
  if (logical == kPrivateFolder) {
    return Fail(EPERM, "the name .xzfs is the mount's own");
  }
  const std::string plain = PlainNameOf(logical);
  std::string stored = logical;
  switch (entry.kind) {
    case StoredKind::kPlain:
      // A name without room for the suffix comes from the source, and so does its content: it is
      // kept.
      stored = plain.size() > NAME_MAX && entry.stored_name == logical ? logical : plain;
      break;
    case StoredKind::kCompressed:
      stored = CompressedNameOf(logical, entry.format);
      break;
    case StoredKind::kStrippedLink:
      stored = CompressedNameOf(logical, Format::kXz);
      break;
    case StoredKind::kSymlink:
      stored = plain;
      break;
    case StoredKind::kDirectory:
    case StoredKind::kSpecial: {
      // Stored under their own names, unless a compressed file has that name.
      struct stat st = {};
      const bool is_replaced = replaced != nullptr && replaced->stored_name == logical;
      if (plain != logical && !is_replaced && os_.StatAt(place.fd(), logical, &st) == 0 &&
          FileId::Of(st) != FileId::Of(entry.attributes)) {
        stored = plain;
      }
      break;
    }
  }
  if (stored.size() > NAME_MAX) {
    return Fail(ENAMETOOLONG, "'" + logical + "' would be stored under too long a name");
  }
  return stored;
}

Status Places::RequireShort(const Place& place) {
  if (place.name.size() > limits_.LongestIn(*place.dir, place.fd())) {
    return Fail(ENAMETOOLONG, "'" + place.name + "' is longer than statfs says that a name may be");
  }
  return {};
}

Status Places::RequireFree(const Place& place) {
  XZFS_ASSIGN_OR_RETURN(const auto entry, EntryAt(place));
  return entry ? Status(Fail(EEXIST, "'" + place.name + "' exists")) : RequireShort(place);
}

// A default ACL of the directory replaces the umask.
mode_t Places::MaskedMode(const Place& place, mode_t mode, const Caller& caller) {
  if ((mode & caller.umask) != 0 &&
      os_.GetXattrAt(place.fd(), ".", "system.posix_acl_default", {}) > 0) {
    return mode;
  }
  return mode & ~caller.umask;
}

}  // namespace xzfs
