// Opening one changes nothing in the source. Before its first change it is prepared: a name that
// could be a compressed file's is escaped, since from then on its content may be anything; and its
// path is noted for the next mount.
//
// A name that can't be escaped, because there is no room for the suffix or because its directory
// may not be changed, is kept. What is refused then is the one change after which the file would
// look like what its name says, and be shown as another file.
#include "fs/plain_files.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/replace_rights.h"
#include "xz/block_decoder.h"
#include "xz/format.h"

namespace xzfs {
namespace {

// A plain file that is stored under this name could look like a compressed one.
bool NeedsEscape(const std::string& stored_name) {
  return !StripEscape(stored_name) && StripSuffix(stored_name);
}

// The file is changed under the name that it has.
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

// `*only_appends`: every write goes to its end, as it may only be appended to.
Result<Descriptor> PlainFiles::OpenForWriting(int dir, const std::string& name, bool appends,
                                              bool* only_appends) {
  *only_appends = false;
  // EWOULDBLOCK: another mount is just compressing it.
  int fd = os_.OpenBeneath(dir, name, O_RDWR | O_NONBLOCK);
  if (fd == -EACCES) {
    fd = os_.OpenBeneath(dir, name, O_WRONLY | O_NONBLOCK);  // its mode forbids us to read it
  }
  FileFacts facts;
  if (fd == -EPERM && appends && os_.FactsAt(dir, name, &facts) == 0 && facts.is_append_only) {
    fd = os_.OpenBeneath(dir, name, O_RDWR | O_APPEND | O_NONBLOCK);
    *only_appends = true;
  }
  if (fd < 0) {
    return FailErrno(-fd, "open '" + name + "' for writing");
  }
  return Descriptor(os_, fd);
}

// Opens the plain file for writing unless it is.
Status PlainFiles::Open(const NodePtr& node, FileState& state, bool appends) {
  if (state.plain().file != nullptr && (appends || !state.plain().only_appends)) {
    return {};
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, tree_.OpenParent(node, &name));
  const int dir = parent->descriptor.get();
  XZFS_RETURN_IF_ERROR(tree_.StatName(*node, dir, name));
  bool only_appends = false;
  XZFS_ASSIGN_OR_RETURN(Descriptor plain, OpenForWriting(dir, name, appends, &only_appends));
  // A commit of another mount, which doesn't know of us, may have replaced it between the two
  // calls; from now on our descriptor keeps it away.
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

// Makes `plain` ready for a change.
Status PlainFiles::Prepare(const NodePtr& node, FileState& state, bool appends) {
  XZFS_RETURN_IF_ERROR(Open(node, state, appends));
  if (state.plain().is_prepared || state.unlinked()) {
    return {};
  }
  std::string name;
  const auto parent = tree_.OpenParent(node, &name);
  const auto st = parent ? tree_.StatName(*node, (*parent)->descriptor.get(), name)
                         : Result<struct stat>(Failure(parent.error()));
  if (!st) {
    // Somebody else has taken its name away: it goes on without one.
    return st.error().code == ESTALE ? Status() : Failure(st.error());
  }
  StoredEntry entry;
  entry.attributes = *st;
  entry.stored_name = name;
  entry.logical_name = StripEscape(name).value_or(name);
  // Once the file has changed it would be taken for another one.
  XZFS_RETURN_IF_ERROR(unfinished_.RemoveHidden((*parent)->descriptor.get(), entry));
  pending_.Note(node);
  state.PreparePlain();
  return {};
}

// Before the first change of a plain file. Nobody looks at names meanwhile: who had seen the old
// one would go by it.
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
    return {};  // it has no name any more, or one that is good
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
                              " would be taken for a compressed file, and its name can't be "
                              "changed to say that it is none; give it another name");
}

}  // namespace xzfs
