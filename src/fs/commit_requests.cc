#include "fs/commit_requests.h"

#include <sys/stat.h>

#include <vector>

#include "fs/options.h"
#include "fs/pending_notes.h"
#include "fs/plain_rules.h"

namespace xzfs {

void CommitRequests::Queue(const NodePtr& node, CommitFor whom) {
  if (options_.compress != Compress::kClose) {
    FileLock lock(*node->state);
    if (node->state->overlay() == nullptr) {
      return;
    }
  }
  committer_.Add(node->id, PlainSize(node), whom);
}

// 0 if the size is unknown.
uint64_t CommitRequests::PlainSize(const NodePtr& node) {
  const Result<struct stat> st = tree_.GetAttributes(node->id);
  return st ? static_cast<uint64_t>(st->st_size) : 0;
}

void CommitRequests::CommitNow(NodeId id, const Committer::Done& done) {
  const NodePtr node = nodes_.Find(id);
  committer_.CommitNow(id, node == nullptr ? 0 : PlainSize(node), done);
}

bool CommitRequests::IsUnshrinkable(const NodePtr& node) {
  UnshrinkableFiles& unshrinkable = rules_.unshrinkable();
  if (node->kind != StoredKind::kPlain || !unshrinkable.Knows(FileId::Of(node->identity))) {
    return false;
  }
  const auto st = tree_.StatNode(node);
  return st && unshrinkable.Has(Identity::Of(*st));
}

// A file that would not shrink is tried again when enough of it has changed.
void CommitRequests::NoteWritten(const NodePtr& node, uint64_t bytes) {
  UnshrinkableFiles& unshrinkable = rules_.unshrinkable();
  if (unshrinkable.Knows(FileId::Of(node->identity))) {
    if (const auto st = tree_.StatNode(node)) {
      unshrinkable.NoteWritten(Identity::Of(*st), bytes);
    }
  }
}

void CommitRequests::NoteRemoved(const Node& node) {
  rules_.unshrinkable().Forget(FileId::Of(node.identity));
}

void CommitRequests::QueueFreed(NodeId id) {
  const NodePtr known = nodes_.Find(id);
  if (options_.compress != Compress::kClose || known == nullptr ||
      known->kind != StoredKind::kPlain) {
    return;
  }
  const auto st = tree_.StatNode(known);
  const auto node = tree_.WithState(id);
  if (!st || !node || rules_.WhyPlain(nodes_.FullPathOf(id), *st)) {
    return;
  }
  {
    SharedLock names(tree_.namespace_lock());
    FileLock lock(*(*node)->state);
    if ((*node)->state->unlinked()) {
      return;
    }
    (*node)->state->NoteChange();  // a commit needs a change
    pending_.Note(*node);
  }
  Queue(*node);
}

void CommitRequests::NoteClosing(NodeId id, const FileState& state) {
  MutexLock lock(mutex_);
  if (state.is_closing()) {
    closing_.insert(id);
  } else {
    closing_.erase(id);
  }
}

void CommitRequests::QueueClosing() {
  std::vector<NodeId> ids;
  {
    MutexLock lock(mutex_);
    ids.assign(closing_.begin(), closing_.end());
  }
  for (const NodeId id : ids) {
    if (const NodePtr node = nodes_.Find(id)) {
      Queue(node, CommitFor::kCaller);
    }
  }
}

}  // namespace xzfs
