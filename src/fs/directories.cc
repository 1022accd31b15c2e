// Listing. Every stored name becomes one line or none. That depends only on the name itself and on
// the few names that could compete with it. The offset of a line is the source's own, which stays
// valid while other entries come and go. Only a Listing is kept between two calls, because of files
// that are committed during a listing.
//
// The program waits for each reply. So all idle threads of the pool look at lines of one reply.
#include "fs/directories.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <new>

#include "base/parallel_for.h"
#include "base/try.h"
#include "fs/borders.h"
#include "fs/half_done.h"
#include "fs/listing.h"
#include "fs/lookups.h"
#include "fs/options.h"
#include "store/directory_reader.h"
#include "store/names.h"

namespace xzfs {
namespace {

// At least room for one longest name, and at most what a listing reads ahead anyway.
constexpr size_t kLeastBuffer = 1024;
constexpr size_t kMostBuffer = 32 * 1024;

// The bytes of a line in a reply besides its name: struct fuse_dirent and struct fuse_direntplus.
constexpr size_t kLineBytes = 24;
constexpr size_t kPlusLineBytes = 152;
constexpr size_t kLongestSuffix = 5;  // ".lzma"

// Looking at a compressed file takes about 10 us, waking a thread 50 us. A reply has room for some
// 200 lines.
constexpr size_t kLinesPerHelper = 16;
constexpr size_t kMostHelpers = 3;

// The line of an entry that could not be looked at (a dead mount point, a bad sector). It is still
// listed, and a lookup of it returns the error. Only a lack of resources ends the listing, since
// every entry would meet it.
Result<std::optional<DirectoryLine>> WithoutLook(DirectoryLine line, const Error& error) {
  if (error.code == EMFILE || error.code == ENFILE || error.code == ENOMEM) {
    return Failure(error);
  }
  return line;
}

// Drops the lines that certainly don't fit into a reply of `bytes`, so that they aren't looked at
// needlessly; never the first one. Returns whether it has dropped any.
bool CutToReply(std::vector<RawLine>& lines, ListingKind kind, size_t bytes) {
  size_t used = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    // The shown name may lack a suffix.
    const size_t name = lines[i].name.size() - std::min(lines[i].name.size(), kLongestSuffix);
    used += (kind == ListingKind::kWithLookups ? kPlusLineBytes : kLineBytes) + (name + 7) / 8 * 8;
    if (used > bytes && i > 0) {
      lines.resize(i);
      return true;
    }
  }
  return false;
}

// Some file systems don't say.
bool IsFile(uint8_t type) { return type == DT_REG || type == DT_UNKNOWN; }

bool IsDots(const std::string& name) { return name == "." || name == ".."; }

}  // namespace

// The receiver of a listing's lines.
struct Directories::Reply {
  Listing* listing = nullptr;  // may be null
  ListingKind kind = ListingKind::kNames;
  const std::function<bool(const DirectoryLine&)>& add;
  bool any = false;  // something was added
};

std::shared_ptr<Listing> Directories::OpenListing(NodeId dir) {
  return parts_.options.read_only ? nullptr : parts_.listings.Open(dir);
}

Status Directories::ReadDirectory(NodeId id, Listing* listing, uint64_t offset, ListingKind kind,
                                  size_t bytes_hint,
                                  const std::function<bool(const DirectoryLine&)>& add) {
  XZFS_RETURN_IF_ERROR(parts_.borders.EnterDirectory(id));
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, parts_.tree.FindNode(id));
  if (node->is_removed) {
    return {};
  }
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr dir, parts_.tree.OpenNode(node));
  if (offset > INT64_MAX) {
    return Fail(EINVAL, "an unknown directory offset");
  }
  // A line with attributes takes about five times as many bytes in the reply as in this buffer.
  std::vector<std::byte> buffer(std::clamp(
      kind == ListingKind::kWithLookups ? bytes_hint / 4 : bytes_hint, kLeastBuffer, kMostBuffer));
  if (offset == 0) {
    parts_.half_done.UndoAll();
    if (listing != nullptr) {
      // Not while a commit moves a file: it has notified only listings that existed then.
      SharedLock names(namespace_);
      listing->Restart();
    }
  }
  for (Reply reply{listing, kind, add};;) {
    auto lines = [&] {
      MutexLock lock(dir->position);
      return ReadLines(parts_.os, dir->descriptor.get(), offset, buffer);
    }();
    if (!lines) {
      // EBADF: the directory could only be opened with O_PATH.
      return lines.error().code == EBADF
                 ? Fail(EACCES, parts_.tree.nodes().PathOf(id) + " may not be listed")
                 : Failure(lines.error());
    }
    if (lines->empty()) {
      return listing == nullptr ? Status() : AddMissed(node, dir, offset, reply);
    }
    const bool full = CutToReply(*lines, kind, bytes_hint);
    offset = lines->back().next_offset;
    XZFS_ASSIGN_OR_RETURN(const bool all_taken, AddLines(node, dir, *lines, reply));
    // An empty reply would mean the end.
    if (!all_taken || (full && reply.any)) {
      return {};
    }
  }
}

// Adds the files that a commit has moved past the listing, after the last line. `offset` is the
// end.
Status Directories::AddMissed(const NodePtr& dir, const DescriptorPtr& descriptor, uint64_t offset,
                              Reply& reply) {
  std::vector<RawLine> lines;
  for (std::string& name : reply.listing->Missed()) {
    SharedLock names(namespace_);  // no file is between two names
    auto entry = names_.Lookup(descriptor->descriptor.get(), name);
    if (entry && entry->logical_name == name) {
      lines.push_back({std::move(entry->stored_name), offset, entry->attributes.st_ino, DT_REG});
    }
  }
  const Result<bool> added = AddLines(dir, descriptor, lines, reply);
  return added ? Status() : Failure(added.error());
}

// Returns false if the caller did not take it.
bool Directories::AddLine(const DirectoryLine& line, Reply& reply) {
  if (!reply.add(line)) {
    return false;
  }
  reply.any = true;
  if (reply.listing != nullptr && IsFile(line.type)) {
    reply.listing->NoteShown(line.name, line.may_move);
  }
  return true;
}

// Looks at `lines` and adds those that are shown. Returns whether the caller took all of them.
Result<bool> Directories::AddLines(const NodePtr& dir, const DescriptorPtr& descriptor,
                                   const std::vector<RawLine>& lines, Reply& reply) {
  std::vector<Result<std::optional<DirectoryLine>>> looks(lines.size());
  const auto helpers = static_cast<unsigned>(
      std::min<size_t>({parts_.options.threads - 1, kMostHelpers, lines.size() / kLinesPerHelper}));
  ParallelFor(parts_.engine.pool, helpers, lines.size(), [&](size_t i) {
    try {
      looks[i] = MakeLine(dir, descriptor, lines[i], reply.kind);
    } catch (const std::bad_alloc&) {
      looks[i] = Fail(ENOMEM, "out of memory while listing");
    }
  });
  Result<bool> taken = true;
  std::vector<NodeId> small_files;
  for (const auto& line : looks) {
    if (taken && !line) {
      taken = Failure(line.error());
    }
    if (!line || !*line) {
      continue;
    }
    const bool is_due = reply.listing == nullptr || reply.listing->IsDue((*line)->name);
    if (is_due && taken && *taken) {
      taken = AddLine(**line, reply);
      if (*taken) {
        if ((*line)->lookup && (*line)->lookup->small) {
          small_files.push_back((*line)->lookup->node);
        }
        continue;
      }
    }
    if ((*line)->lookup) {
      parts_.tree.Forget((*line)->lookup->node, 1);
    }
  }
  if (!small_files.empty()) {
    parts_.reads.DecodeFilesAhead(parts_.open_order.Listed(dir->id, small_files));
  }
  return taken;
}

// Nothing if the stored name isn't shown.
Result<std::optional<DirectoryLine>> Directories::MakeLine(const NodePtr& dir,
                                                           const DescriptorPtr& descriptor,
                                                           const RawLine& raw, ListingKind kind) {
  DirectoryLine line{raw.name, raw.next_offset,
                     parts_.tree.numbers().Of({dir->identity.device, raw.inode}), raw.type,
                     std::nullopt};
  line.may_move = IsFile(raw.type);
  if (parts_.borders.IsPrivate(dir->id, descriptor->descriptor.get(), raw.name)) {
    return std::nullopt;
  }
  if (raw.name == ".") {
    line.inode = dir->shown_inode;
  }
  if (IsDots(raw.name) ||
      (kind == ListingKind::kNames && !StripSuffix(raw.name) && !StripEscape(raw.name))) {
    return line;
  }
  SharedLock names(namespace_);
  auto entry = names_.Show(descriptor->descriptor.get(), raw.name);
  if (entry && !*entry && !StripSuffix(raw.name)) {
    // Since the line was read a commit may have moved the file to a line that the listing has
    // passed.
    auto committed = names_.Lookup(descriptor->descriptor.get(), raw.name);
    if (committed && committed->kind == StoredKind::kCompressed) {
      entry = std::move(*committed);
    }
  }
  if (!entry) {
    return WithoutLook(std::move(line), entry.error());
  }
  if (!*entry) {
    return std::nullopt;
  }
  if (dir->id == kRootNode && (*entry)->logical_name == kPrivateFolder) {
    return std::nullopt;
  }
  line.name = (*entry)->logical_name;
  line.may_move = raw.name != (*entry)->stored_name || (*entry)->kind == StoredKind::kPlain;
  line.inode = parts_.tree.ShownInode(**entry);
  line.type = static_cast<uint8_t>(IFTODT((*entry)->attributes.st_mode));
  // A file that must be decoded for its size is only looked at when it is looked up.
  if (kind == ListingKind::kWithLookups && !parts_.lookups.IsUnknownLegacy(**entry)) {
    auto found = parts_.lookups.Register(dir->id, std::move(**entry));
    if (!found) {
      return WithoutLook(std::move(line), found.error());
    }
    line.lookup = *found;
  }
  return line;
}

}  // namespace xzfs
