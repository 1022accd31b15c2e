#include "fs/commit_report.h"

#include <cerrno>
#include <string>
#include <utility>

#include "base/fail.h"
#include "base/units.h"
#include "fs/commit_requests.h"
#include "fs/file_state.h"
#include "fs/plain_rules.h"

namespace xzfs {

bool CommitReport::Note(NodeId id, const Error& error, NextTry next) {
  // Keeps the node while the file is given up: reports need its path.
  const bool is_given_up = next == NextTry::kNever;
  const bool is_pinned = is_given_up && nodes_.Pin(id);
  const auto before = failures_.Note({id, error.code, error.message, is_given_up});
  if (is_pinned && before && before->is_given_up) {
    tree_.Forget(id, 1);
  }
  return !before || before->message != error.message;
}

void CommitReport::Clear(NodeId id) {
  if (const auto failure = failures_.Clear(id); failure && failure->is_given_up) {
    tree_.Forget(id, 1);
  }
}

std::vector<Uncommitted> CommitReport::Files(size_t most) {
  std::vector<Uncommitted> files;
  for (CommitFailures::Failure& failure : failures_.First(most)) {
    if (const auto st = tree_.GetAttributes(failure.node); !st && st.error().code == ESTALE) {
      Clear(failure.node);  // another program removed it
      pending_.Forget(failure.node);
      continue;
    }
    const NodePtr node = nodes_.Find(failure.node);
    std::string path =
        AsShown(nodes_.FullPathOf(failure.node), node != nullptr ? node->kind : StoredKind::kPlain);
    files.push_back({std::move(path), std::move(failure.message), failure.is_given_up});
  }
  return files;
}

void CommitReport::RetryGivenUp() {
  for (const CommitFailures::Failure& failure : failures_.First(failures_.count())) {
    const NodePtr node = failure.is_given_up ? nodes_.Find(failure.node) : nullptr;
    if (node == nullptr || node->state == nullptr) {
      continue;
    }
    {
      FileLock lock(*node->state);
      if (node->state->unlinked() || node->state->job() != nullptr) {
        continue;
      }
      node->state->NoteChange();
    }
    requests_.Queue(node, CommitFor::kCaller);
  }
}

Status CommitReport::WithUncommitted(const Status& synced) {
  const auto all = Files(failures_.count());
  if (all.empty()) {
    return synced;
  }
  return Fail(synced ? EIO : synced.error().code,
              Counted(all.size(), "file") +
                  (all.size() == 1 ? " is not compressed: " : " are not compressed; the first: ") +
                  all[0].reason);
}

}  // namespace xzfs
