// Plain files that are written to.
//
// Opening one changes nothing in the source. Before its first change it is prepared: a name that
// could be a compressed file's is escaped, since from then on its content may be anything; and its
// path is noted for the next mount.
//
// A name that can't be escaped, because there is no room for the suffix or because its directory
// may not be changed, is kept. What is refused then is the one change after which the file would
// look like what its name says, and be shown as another file.
#include "fs/filesystem_plain.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "store/intents.h"
#include "store/kept_times.h"
#include "store/names.h"
#include "store/replace_rights.h"
#include "xz/block_decoder.h"

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

// A hint for the next mount, so its failure is no reason to fail. Returns whether it is noted. A
// file is noted once, until it isn't pending any more. `moved`: under a new path.
bool Filesystem::NotePending(const NodePtr& node, bool moved) {
  if (options_.compress != Compress::kClose) {
    return false;
  }
  {
    MutexLock lock(noted_mutex_);
    if (!noted_.insert(node->id).second && !moved) {
      return true;
    }
  }
  const ZonePtr zone = nodes_.ZoneOf(node->id);
  auto session = SessionFor(zone);
  const Status noted =
      session ? (*session)->NotePending(PathInZone(node->id), [&] { return NotedPaths(*zone); })
              : tl::unexpected(session.error());
  if (!noted) {
    Log(LogLevel::kDebug, "pending file not noted: " + noted.error().message);
    ForgetNote(node->id);
  }
  return noted.has_value();
}

// The file isn't pending any more.
void Filesystem::ForgetNote(NodeId id) {
  MutexLock lock(noted_mutex_);
  noted_.erase(id);
}

bool Filesystem::IsNoted(NodeId id) {
  MutexLock lock(noted_mutex_);
  return noted_.contains(id);
}

std::vector<std::string> Filesystem::NotedPaths(const Zone& zone) {
  std::vector<NodeId> ids;
  {
    MutexLock lock(noted_mutex_);
    ids.assign(noted_.begin(), noted_.end());
  }
  std::vector<std::string> paths;
  for (const NodeId id : ids) {
    std::string path;
    const ZonePtr its = nodes_.ZoneOf(id, &path);
    if (its == nullptr) {
      ForgetNote(id);
    } else if (its.get() == &zone) {
      paths.push_back(std::move(path));
    }
  }
  return paths;
}

// The hints are of no use any more, except those of files that were given up, unless somebody
// writes who will need one.
void Filesystem::ForgetPending() {
  done_intents_.Remove(1);
  for (const ZonePtr& zone : Zones()) {
    MutexLock lock(zone->mutex);
    if (zone->session != nullptr) {
      zone->session->KeepPendingIf([this] { return writers_ == 0 && committer_.is_idle(); },
                                   [&] { return NotedPaths(*zone); });
    }
  }
}

// `*only_appends`: every write goes to its end, as it may only be appended to.
Result<Descriptor> Filesystem::OpenForWriting(int dir, const std::string& name, bool appends,
                                              bool* only_appends) {
  *only_appends = false;
  // EWOULDBLOCK: another mount is just making it cold.
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
Status Filesystem::OpenHot(const NodePtr& node, FileState& state, bool appends) {
  if (state.hot != nullptr && (appends || !state.hot_only_appends)) {
    return {};
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  const int dir = parent->descriptor.get();
  XZFS_RETURN_IF_ERROR(StatName(*node, dir, name));
  bool only_appends = false;
  XZFS_ASSIGN_OR_RETURN(Descriptor hot, OpenForWriting(dir, name, appends, &only_appends));
  // A commit of another mount, which doesn't know of us, may have replaced it between the two
  // calls; from now on our descriptor keeps it away.
  XZFS_RETURN_IF_ERROR(StatName(*node, dir, name));
  struct stat st = {};
  if (const int error = os_.FStat(hot.get(), &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
  }
  if (!IsNode(*node, st)) {
    return Fail(ESTALE, nodes_.PathOf(node->id) + " was replaced");
  }
  state.hot = std::make_shared<SharedDescriptor>(std::move(hot));
  state.hot_only_appends = only_appends;
  return {};
}

// Makes `hot` ready for a change.
Status Filesystem::PrepareHot(const NodePtr& node, FileState& state, bool appends) {
  XZFS_RETURN_IF_ERROR(OpenHot(node, state, appends));
  if (state.is_prepared || state.unlinked) {
    return {};
  }
  std::string name;
  const auto parent = OpenParent(node, &name);
  const auto st = parent ? StatName(*node, (*parent)->descriptor.get(), name)
                         : Result<struct stat>(tl::unexpected(parent.error()));
  if (!st) {
    // Somebody else has taken its name away: it goes on without one.
    return st.error().code == ESTALE ? Status() : tl::unexpected(st.error());
  }
  StoredEntry entry;
  entry.attributes = *st;
  entry.stored_name = name;
  entry.logical_name = StripEscape(name).value_or(name);
  // Once the file has changed it would be taken for another one.
  XZFS_RETURN_IF_ERROR(RemoveHiddenTwin((*parent)->descriptor.get(), entry));
  NotePending(node);
  state.is_prepared = true;
  return {};
}

// Before the first change of a plain file. Nobody looks at names meanwhile: who had seen the old
// one would go by it.
Status Filesystem::EscapeName(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr known, FindNode(id));
  if (known->kind != StoredKind::kPlain || known->state == nullptr) {
    return {};
  }
  {
    MutexLock lock(known->state->mutex);
    if (known->state->is_prepared || known->state->unlinked) {
      return {};
    }
  }
  if (!NeedsEscape(nodes_.LocationOf(id).stored_name)) {
    return {};
  }
  ExclusiveLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  std::string name;
  const auto parent = OpenParent(node, &name);
  const int dir = parent ? (*parent)->descriptor.get() : -1;
  if (!parent || node->kind != StoredKind::kPlain || !NeedsEscape(name) ||
      !StatName(*node, dir, name)) {
    return {};  // it has no name any more, or one that is good
  }
  const std::string escaped = HotNameOf(name);
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
  MutexLock lock(node->state->mutex);
  node->state->keeps_name = -error;
  return {};
}

// Refuses a change after which the plain file would be taken for a compressed one. `change` does to
// its head what is about to be done to it.
Status Filesystem::KeepPlainLook(const Writable& to, const std::function<void(Head&)>& change) {
  const auto stripped = StripSuffix(nodes_.LocationOf(to.node->id).stored_name);
  if (to.keeps_name == 0 || !stripped) {
    return {};
  }
  struct stat st = {};
  if (const int error = os_.FStat(to.hot->descriptor.get(), &st); error < 0) {
    return FailErrno(-error, "stat " + nodes_.PathOf(to.node->id));
  }
  Head head;
  head.bytes.resize(kFormatProbeBytes);
  const ssize_t got = os_.PRead(to.hot->descriptor.get(), head.bytes, 0);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read " + nodes_.PathOf(to.node->id));
  }
  head.bytes.resize(static_cast<size_t>(got));
  head.size = static_cast<uint64_t>(st.st_size);
  change(head);
  if (!FormatBySuffix(stripped->suffix, head.bytes)) {
    return {};
  }
  return Fail(to.keeps_name, nodes_.PathOf(to.node->id) +
                                 " would be taken for a compressed file, and its name can't be "
                                 "changed to say that it is none; give it another name");
}

// Whether changes of a compressed file can be stored: nothing is accepted that could not be.
Status Filesystem::RequireChangeable(const NodePtr& node) {
  if (files_.FindPinned(node->id) != nullptr) {
    return {};  // without a name nothing of it is ever stored
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  XZFS_ASSIGN_OR_RETURN(const struct stat st, StatName(*node, parent->descriptor.get(), name));
  XZFS_RETURN_IF_ERROR(MayChange(os_, parent->descriptor.get(), name));
  if (!MayGiveOwner(st)) {
    return Fail(EPERM, nodes_.PathOf(node->id) +
                           " is somebody else's, and the daemon has not the right to make it anew");
  }
  // Its Blocks are those of one encoder: what the first one needs the others do, too.
  const XzReader::Source source = SourceOf(node);
  XZFS_ASSIGN_OR_RETURN(const auto file,
                        engine_.files.Get(source.identity, source.format, source.file_id,
                                          *source.stored, source.name));
  if (file->index().block_count() != 0) {
    const auto filters = DescribeFilters(*source.stored, file->index(), file->index().Block(0));
    if (!filters && filters.error().is_unsupported) {
      return Fail(EOPNOTSUPP, nodes_.PathOf(node->id) + ": " + filters.error().message);
    }
  }
  return {};
}

}  // namespace xzfs
