// How the overlay of a file is made, opened again and given up.
//
// The caller holds the file's lock. An overlay is made before the first change of a compressed
// file, in the session of the file's zone. One whose base was changed by another program goes to
// lost+found, under a name that tells where the file was.
#include "fs/overlays.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/machine.h"
#include "base/try.h"
#include "cache/read_engine.h"
#include "cache/xz_reader.h"
#include "fs/edited_files.h"
#include "fs/reads.h"
#include "store/content_hash.h"
#include "store/overlay.h"
#include "store/overlay_copies.h"
#include "store/records.h"
#include "store/replace_rights.h"
#include "store/xz_writer.h"
#include "xz/block_decoder.h"

namespace xzfs {

Overlays::Overlays(NodeTree& tree, ZoneTable& zones, EditedFiles& edited, Reads& reads,
                   ReadEngine& engine, size_t kept, Os& os)
    : tree_(tree),
      nodes_(tree.nodes()),
      zones_(zones),
      edited_(edited),
      reads_(reads),
      engine_(engine),
      os_(os),
      boot_id_(BootId()),
      overlay_files_(std::make_shared<OverlayFileCache>(kept)) {}

Result<std::shared_ptr<Overlay>> Overlays::EditedOverlay(const NodePtr& node, FileState& state) {
  if (state.overlay() != nullptr) {
    return state.overlay();
  }
  const ZonePtr zone = tree_.tops().ZoneOf(node->id);
  XZFS_ASSIGN_OR_RETURN(const std::shared_ptr<Session> session, zones_.SessionFor(zone));
  struct stat st = {};
  const bool is_remote = os_.IsRemote(session->folder());
  uint64_t content = 0;
  FileFacts facts;
  if (const DescriptorPtr kept = tree_.files().FindPinned(node->id)) {
    if (const int error = os_.FactsAt(kept->descriptor.get(), "", &facts); error < 0) {
      return FailErrno(-error, "stat " + nodes_.PathOf(node->id));
    }
    st = facts.attributes;
  } else {
    std::string name;
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, tree_.OpenParent(node, &name));
    XZFS_ASSIGN_OR_RETURN(st, tree_.StatName(*node, parent->descriptor.get(), name));
    if (zones_.IsMountPoint(*zone, parent->descriptor.get(), name)) {
      return Fail(EBUSY, nodes_.PathOf(node->id) + " is a mount point, which nothing can replace");
    }
    if (is_remote) {
      XZFS_ASSIGN_OR_RETURN(content, ContentHashAt(os_, parent->descriptor.get(), name));
    }
    (void)os_.FactsAt(parent->descriptor.get(), name, &facts);
  }
  const Identity identity = Identity::Of(st);
  const int64_t birth_ns = facts.attributes.st_ino == st.st_ino ? facts.birth_ns : 0;
  const struct timespec times[2] = {st.st_atim, st.st_mtim};
  XZFS_ASSIGN_OR_RETURN(auto overlay, Overlay::Create(os_, session->folder(), session->NewId(),
                                                      {.inode = identity.inode,
                                                       .size_bytes = identity.size_bytes,
                                                       .mtime_ns = identity.mtime_ns,
                                                       .birth_ns = birth_ns,
                                                       .plain_size = node->plain_size(),
                                                       .path = zones_.PathInZone(node->id),
                                                       .content = content},
                                                      boot_id_, times, overlay_files_));
  if (state.unlinked()) {
    XZFS_RETURN_IF_ERROR(overlay->NoteDropped());
  }
  if (state.writers() != 0) {
    XZFS_RETURN_IF_ERROR(overlay->files().KeepOpen());
  }
  nodes_.Pin(node->id);  // until EditedFiles::Detach
  edited_.Attach(*node, state, std::move(overlay), session, zone);
  return state.overlay();
}

Status Overlays::RequireChangeable(const NodePtr& node) {
  if (tree_.files().FindPinned(node->id) != nullptr) {
    return {};  // changes of a file without a name are never committed
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, tree_.OpenParent(node, &name));
  XZFS_ASSIGN_OR_RETURN(const struct stat st,
                        tree_.StatName(*node, parent->descriptor.get(), name));
  XZFS_RETURN_IF_ERROR(MayChange(os_, parent->descriptor.get(), name));
  if (!MayGiveOwner(st)) {
    return Fail(EPERM,
                nodes_.PathOf(node->id) +
                    " belongs to another user, and the daemon may not give a new file that owner");
  }
  // One encoder made all its Blocks, so the others need the same filters as the first one.
  const XzReader::Source source = reads_.SourceOf(node);
  XZFS_ASSIGN_OR_RETURN(const auto file,
                        engine_.indexes.Get(source.identity, source.format, source.file_id,
                                            *source.stored, source.name));
  if (file->index().block_count() != 0) {
    const auto filters = DescribeFilters(*source.stored, file->index(), file->index().Block(0));
    if (!filters && filters.error().kind == ErrorKind::kUnsupported) {
      return Fail(EOPNOTSUPP, nodes_.PathOf(node->id) + ": " + filters.error().message);
    }
  }
  return {};
}

Result<std::unique_ptr<Overlay>> Overlays::Load(const Session& session, const std::string& id) {
  return Overlay::Load(os_, session.folder(), id, boot_id_, overlay_files_);
}

Status Overlays::KeepLost(Session& session, Overlay& overlay, const std::string& path,
                          const std::string& why) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor lost, Session::OpenLostAndFound(os_, session.top()));
  const std::string name = session.name() + "-" + overlay.id();
  const std::string note = "Pending changes of " + path + " that could not be applied: " + why +
                           ".\n" + name +
                           ".data has the changed bytes at their offsets in the plain file.\n";
  // The note comes first: without it a user could not know what the other file is.
  const int fd = os_.OpenBeneath(lost.get(), name + ".note", O_RDWR | O_CREAT, 0600);
  if (fd < 0) {
    return FailErrno(-fd, "make a note in .xzfs/lost+found");
  }
  const Descriptor file(os_, fd);
  XZFS_RETURN_IF_ERROR(WriteFully(os_, fd, BytesOf(note), 0));
  os_.Sync(fd);
  XZFS_ASSIGN_OR_RETURN(const OverlayMove moved, overlay.MoveTo(lost.get(), name));
  engine_.stats.overlays_lost.Add();
  if (moved == OverlayMove::kNothing) {
    const std::string lost_note = "Pending changes of " + path + " are lost: " + why +
                                  ", and the file in .xzfs that held them is missing.\n";
    os_.Truncate(fd, 0);
    (void)WriteFully(os_, fd, BytesOf(lost_note), 0);
    Log(LogLevel::kError,
        path + ": " + why +
            "; its pending changes are lost: another program has removed them from "
            ".xzfs");
    return {};
  }
  os_.Sync(lost.get());
  Log(LogLevel::kError, path + ": " + why + "; its pending changes are kept in " +
                            zones_.HomeOf(session) + "/lost+found/" + name + ".data");
  return {};
}

}  // namespace xzfs
