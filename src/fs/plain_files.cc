// Opening a plain file changes nothing in the source. Prepare comes before its first change. It
// escapes a name that could be a compressed file's, since the content may be anything from then on,
// and notes the path for the next mount.
//
// The file keeps a name that can't be escaped, because there is no room for the suffix or because
// its directory may not be changed. Then a change is refused if the file would look like a
// compressed one after it, since the mount would show it as another file.
#include "fs/plain_files.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "fs/listing.h"
#include "fs/pending_notes.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/replace_rights.h"
#include "xz/block_decoder.h"
#include "xz/format.h"

namespace xzfs {
namespace {

// Whether a plain file with this stored name could look like a compressed one.
bool NeedsEscape(const std::string& stored_name) {
  return !StripEscape(stored_name) && StripSuffix(stored_name);
}

// Whether the file may be changed under its present name.
bool IsNoReasonToFail(int code) {
  return code == ENAMETOOLONG || code == EEXIST || code == EPERM || code == EACCES ||
         code == EROFS || code == EBUSY;
}

}  // namespace

PlainFiles::PlainFiles(NodeTree& tree, PendingNotes& pending, UnfinishedCommits& unfinished,
                       ListingTable& listings, Os& os)
    : tree_(tree),
      nodes_(tree.nodes()),
      namespace_(tree.namespace_lock()),
      pending_(pending),
      unfinished_(unfinished),
      listings_(listings),
      os_(os) {}

void FileHead::Resize(uint64_t new_size) {
  size = new_size;
  bytes.resize(std::min<uint64_t>(size, kFormatProbeBytes));
}

void FileHead::Put(uint64_t offset, std::span<const std::byte> content) {
  if (!content.empty()) {
    Resize(std::max<uint64_t>(size, offset + content.size()));
  }
  for (uint64_t at = offset; at < bytes.size() && at - offset < content.size(); ++at) {
    bytes[at] = content[at - offset];
  }
}

void FileHead::Allocate(int mode, uint64_t offset, uint64_t length) {
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0) {
    Resize(std::max<uint64_t>(size, offset + length));
  }
  const bool zeros = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  for (uint64_t at = offset; zeros && at < bytes.size() && at - offset < length; ++at) {
    bytes[at] = std::byte{0};
  }
}

// `*only_appends`: whether the file is append-only, so that every write goes to its end.
Result<Descriptor> PlainFiles::OpenForWriting(int dir, const std::string& name, WritePlace place,
                                              bool* only_appends) {
  *only_appends = false;
  // EWOULDBLOCK: another mount is just compressing it.
  int fd = os_.OpenBeneath(dir, name, O_RDWR | O_NONBLOCK);
  if (fd == -EACCES) {
    fd = os_.OpenBeneath(dir, name, O_WRONLY | O_NONBLOCK);  // its mode forbids reading
  }
  FileFacts facts;
  if (fd == -EPERM && place == WritePlace::kAtEnd && os_.FactsAt(dir, name, &facts) == 0 &&
      facts.is_append_only) {
    fd = os_.OpenBeneath(dir, name, O_RDWR | O_APPEND | O_NONBLOCK);
    *only_appends = true;
  }
  if (fd < 0) {
    return FailErrno(-fd, "open '" + name + "' for writing");
  }
  return Descriptor(os_, fd);
}

Status PlainFiles::Open(const NodePtr& node, FileState& state, WritePlace place) {
  if (state.plain().file != nullptr &&
      (place == WritePlace::kAtEnd || !state.plain().only_appends)) {
    return {};
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, tree_.OpenParent(node, &name));
  const int dir = parent->descriptor.get();
  XZFS_RETURN_IF_ERROR(tree_.StatName(*node, dir, name));
  bool only_appends = false;
  XZFS_ASSIGN_OR_RETURN(Descriptor plain, OpenForWriting(dir, name, place, &only_appends));
  // A commit of another mount, which doesn't know our open handle, may have replaced the file
  // between the two calls. From now on our descriptor keeps such commits away.
  XZFS_RETURN_IF_ERROR(tree_.StatName(*node, dir, name));
  struct stat st = {};
  if (const int error = os_.FStat(plain.get(), &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
  }
  if (!NodeTree::IsNode(*node, st)) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was replaced");
  }
  state.OpenPlain(std::make_shared<SharedDescriptor>(std::move(plain)), only_appends);
  return {};
}

// Prepares `plain` for a change.
Status PlainFiles::Prepare(const NodePtr& node, FileState& state, WritePlace place) {
  XZFS_RETURN_IF_ERROR(Open(node, state, place));
  if (state.plain().is_prepared || state.unlinked()) {
    return {};
  }
  std::string name;
  const auto parent = tree_.OpenParent(node, &name);
  const auto st = parent ? tree_.StatName(*node, (*parent)->descriptor.get(), name)
                         : Result<struct stat>(Failure(parent.error()));
  if (!st) {
    // Another program has removed its name: the file is used without one.
    return st.error().code == ESTALE ? Status() : Failure(st.error());
  }
  StoredEntry entry;
  entry.attributes = *st;
  entry.stored_name = name;
  entry.logical_name = StripEscape(name).value_or(name);
  // After the change the twin would pass for another file.
  XZFS_RETURN_IF_ERROR(unfinished_.RemoveHidden((*parent)->descriptor.get(), entry));
  pending_.Note(node);
  state.PreparePlain();
  return {};
}

// Holds names exclusively: a thread that had seen the old name would use it.
Status PlainFiles::EscapeName(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr known, tree_.FindNode(id));
  if (known->kind != StoredKind::kPlain || known->state == nullptr) {
    return {};
  }
  {
    FileLock lock(*known->state);
    if (known->state->plain().is_prepared || known->state->unlinked()) {
      return {};
    }
  }
  if (!NeedsEscape(nodes_.LocationOf(id).stored_name)) {
    return {};
  }
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(id));
  std::string name;
  const auto parent = tree_.OpenParent(node, &name);
  const int dir = parent ? (*parent)->descriptor.get() : -1;
  if (!parent || node->kind != StoredKind::kPlain || !NeedsEscape(name) ||
      !tree_.StatName(*node, dir, name)) {
    return {};  // it has no name, or one that needs no escape
  }
  const std::string escaped = PlainNameOf(name);
  const NodeId dir_id = nodes_.LocationOf(id).parent;
  listings_.NoteMove(dir_id, name);
  const KeptTimes times(os_, dir);
  const int error = RenameOverNothing(os_, dir, name, dir, escaped);
  if (error < 0 && !IsNoReasonToFail(-error)) {
    return FailErrno(-error, "rename " + nodes_.PathOf(id) + " to " + escaped);
  }
  if (error == 0) {
    nodes_.Update(
        id, [](Node&) {}, &escaped);
  }
  FileLock lock(*node->state);
  node->state->KeepName(-error);
  return {};
}

Status PlainFiles::KeepPlainLook(const Node& node, const SharedDescriptor& plain, int keeps_name,
                                 const std::function<void(FileHead&)>& change) {
  const auto stripped = StripSuffix(nodes_.LocationOf(node.id).stored_name);
  if (keeps_name == 0 || !stripped) {
    return {};
  }
  struct stat st = {};
  if (const int error = os_.FStat(plain.descriptor.get(), &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node.id));
  }
  FileHead head;
  head.bytes.resize(kFormatProbeBytes);
  const ssize_t got = os_.PRead(plain.descriptor.get(), head.bytes, 0);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read " + nodes_.PathOf(node.id));
  }
  head.bytes.resize(static_cast<size_t>(got));
  head.size = static_cast<uint64_t>(st.st_size);
  change(head);
  if (!FormatBySuffix(stripped->suffix, head.bytes)) {
    return {};
  }
  return Fail(keeps_name, nodes_.PathOf(node.id) +
                              " would look like a compressed file, and its name can't be "
                              "escaped; give it another name");
}

}  // namespace xzfs
