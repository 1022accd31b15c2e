// Opening a file counts it as open while names are held, so a thread that removes its last name
// sees that it is used. A handle that may write is also a writer (Writes). The kernel's pages of
// the file stay valid if the stored file is the same as at the last open.
#include "fs/handles.h"

#include <fcntl.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "base/try.h"
#include "cache/read_engine.h"
#include "fs/cold_files.h"
#include "fs/file_state.h"
#include "fs/reads.h"

namespace xzfs {
namespace {

// A plain file that has changed so recently may change again within the grain of its times.
constexpr int64_t kSettledSeconds = 2;

}  // namespace

Handles::Handles(NodeTree& tree, EditedFiles& edited, Reads& reads, Writes& writes, ColdFiles& cold,
                 ReadEngine& engine)
    : tree_(tree),
      nodes_(tree.nodes()),
      namespace_(tree.namespace_lock()),
      edited_(edited),
      reads_(reads),
      writes_(writes),
      cold_(cold),
      engine_(engine) {}

Result<Handles::Opened> Handles::Open(NodeId id, int flags, const DescriptorPtr& new_file) {
  // A commit may replace the stored file between two looks at it. The kernel would look the name up
  // again, but only once.
  constexpr int kTries = 4;
  for (int tries = 1;; ++tries) {
    auto opened = TryOpen(id, flags, new_file);
    if (opened || opened.error().code != ESTALE || tries == kTries) {
      return opened;
    }
  }
}

Result<Handles::Opened> Handles::TryOpen(NodeId id, int flags, const DescriptorPtr& new_file) {
  XZFS_ASSIGN_OR_RETURN(const Counted counted, CountOpen(id, flags));
  const NodePtr& node = counted.node;
  if ((flags & O_ACCMODE) != O_RDONLY) {
    const Status begun = BeginWritingTo(id, flags, new_file);
    if (!begun) {
      RemoveOpen(node);
      return Failure(begun.error());
    }
  } else if (node->kind == StoredKind::kCompressed && (flags & O_DIRECT) == 0) {
    reads_.DecodeNextFiles(*node);
  }
  XZFS_ASSIGN_OR_RETURN(const NodePtr now, tree_.FindNode(id));
  return Opened{std::make_unique<OpenFile>(now, flags), counted.keep_cache};
}

Status Handles::BeginWritingTo(NodeId id, int flags, const DescriptorPtr& new_file) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr writing, writes_.BeginWriting(id, flags, new_file));
  if ((flags & O_TRUNC) != 0) {
    if (Status truncated = writes_.Resize(id, 0); !truncated) {
      writes_.EndWriting(writing);
      return truncated;
    }
  }
  return {};
}

// Checks that the node can be opened, and counts it as open. Holds names, so a thread that removes
// its last name sees that it is in use. RemoveOpen takes the count back.
Result<Handles::Counted> Handles::CountOpen(NodeId id, int flags) {
  const bool may_write = (flags & O_ACCMODE) != O_RDONLY;
  const bool may_note_use = cold_.is_on() && !may_write && (flags & O_NOATIME) == 0;
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(NodePtr node, tree_.FindNode(id));
  if (node->kind == StoredKind::kDirectory) {
    return Fail(EISDIR, nodes_.PathOf(id) + " is a directory");
  }
  if (node->kind != StoredKind::kPlain && node->kind != StoredKind::kCompressed) {
    return Fail(ENXIO, nodes_.PathOf(id) + " is not a regular file");
  }
  // A path that the kernel remembers may lead to an old version. A stat by name shows that; one of
  // an open descriptor would not. ESTALE makes the kernel look again.
  if (edited_.IsHalfOverwritten(FileId::Of(node->identity))) {
    return EditedFiles::FailHalfOverwritten(nodes_.PathOf(id));
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, tree_.OpenParent(node, &name));
  auto stated = tree_.StatName(*node, parent->descriptor.get(), name);
  if (stated && may_note_use) {
    cold_.NoteUse(*node, parent->descriptor.get(), name, *stated);
    stated = tree_.StatName(*node, parent->descriptor.get(), name);
  }
  if (!stated && tree_.KeptDescriptor(node) == nullptr) {
    return Failure(stated.error());
  }
  const struct stat st = stated ? *stated : node->attributes;
  // Only after that check: a file that was replaced while a lookup read it looks damaged.
  if (node->damage) {
    const bool is_unsupported = may_write && node->damage->kind == ErrorKind::kUnsupported;
    return Fail(is_unsupported ? EOPNOTSUPP : node->damage->code,
                nodes_.PathOf(id) + ": " + node->damage->message);
  }
  const bool compressed = node->kind == StoredKind::kCompressed;
  // A lookup may have kept the stored bytes of a small file.
  if (!may_write && (!compressed || engine_.small_files.Find(node->identity) == nullptr)) {
    XZFS_RETURN_IF_ERROR(tree_.OpenNode(node));
  }
  const bool unchanged = tree_.opens().Add(id, Identity::Of(st));
  const bool settled = time(nullptr) - st.st_ctim.tv_sec > kSettledSeconds;
  return Counted{std::move(node), compressed || (unchanged && settled)};
}

void Handles::Close(std::unique_ptr<OpenFile> file) {
  const NodeId id = file->id();
  const NodePtr node = nodes_.Find(id);
  if (node == nullptr) {
    return;  // a handle that may write keeps the node
  }
  if (file->may_write()) {
    writes_.EndWriting(node, file.get());
  }
  file.reset();
  RemoveOpen(node);
}

void Handles::RemoveOpen(const NodePtr& node) {
  if (tree_.opens().Remove(node->id)) {
    // A pinned descriptor of a file without a name stays until the node is gone: a program may be
    // about to open it.
    tree_.files().Close(node->id);
    engine_.small_files.Drop(node->identity);
    if (node->state != nullptr) {
      FileLock lock(*node->state);
      if (node->state->unlinked()) {
        tree_.DropRead(*node);
      }
      if (node->state->unlinked() && node->state->writers() == 0) {
        node->state->ClosePlain();
        node->state->LetDescriptorsGo();
        edited_.Release(node->id, *node->state);
      }
    }
  }
}

}  // namespace xzfs
