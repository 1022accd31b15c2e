#include "fs/cold_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/try.h"
#include "fs/committer.h"
#include "fs/file_state.h"
#include "fs/lookups.h"
#include "fs/options.h"
#include "fs/plain_rules.h"
#include "fs/unfinished_commits.h"
#include "store/names.h"
#include "store/session.h"

namespace xzfs {
namespace {

constexpr const char* kNotesName = "cold";

}  // namespace

ColdFiles::ColdFiles(const Options& options, const PlainRules& rules, NodeTree& tree,
                     ZoneTable& zones, Lookups& lookups, UnfinishedCommits& unfinished,
                     Committer& committer, Os& os)
    : options_(options),
      rules_(rules),
      tree_(tree),
      nodes_(tree.nodes()),
      zones_(zones),
      lookups_(lookups),
      unfinished_(unfinished),
      committer_(committer),
      os_(os) {
  MakeSearch();
}

void ColdFiles::Start() {
  if (search_ != nullptr) {
    search_->Start();
  }
}

void ColdFiles::Stop() {
  if (search_ != nullptr) {
    search_->Stop();
  }
}

bool ColdFiles::MayCommit(const struct stat& st) {
  return search_ == nullptr || search_->IsCold(st);
}

void ColdFiles::MakeSearch() {
  if (options_.compress != Compress::kCold || options_.read_only) {
    return;
  }
  const int source = tree_.root()->descriptor.get();
  search_ = std::make_unique<ColdSearch>(
      os_, source, options_.cold_after_s, rules_.unshrinkable(),
      ColdSearch::Calls{
          .stays_plain =
              [this](const std::string& path, const struct stat& st) {
                return rules_.WhyKept(path, st).has_value();
              },
          .would_not_shrink =
              [this](const std::string& path, const struct stat& st) {
                return rules_.WouldNotShrink(path, st);
              },
          .least_saving = [this] { return rules_.saving().least(); },
          .compress = [this](const std::string& path,
                             const struct stat& st) { return Commit(path, st); },
          .cancel = [this] { Cancel(); },
          .load = [this,
                   source] { return Session::ReadShared(os_, source, kNotesName).value_or(""); },
          .keep = [this](const std::string& notes) -> Status {
            XZFS_ASSIGN_OR_RETURN(const auto session, zones_.SessionFor(kRootNode));
            return session->WriteShared(kNotesName, notes);
          }});
}

std::optional<ColdSearch::Figures> ColdFiles::figures() {
  return search_ == nullptr ? std::nullopt : std::optional(search_->figures());
}

// Commits the plain file and waits. Does nothing if the file is in use, or isn't the one of `st`.
Status ColdFiles::Commit(const std::string& path, const struct stat& st) {
  const auto id = lookups_.LookupPath(path);
  if (!id) {
    return id.error().code == ENOENT ? Status() : Failure(id.error());
  }
  const auto commit = [&]() -> Status {
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.WithState(*id));
    if (node->kind != StoredKind::kPlain || FileId::Of(node->identity) != FileId::Of(st) ||
        tree_.opens().IsOpen(*id)) {
      return {};
    }
    {
      FileLock lock(*node->state);
      if (node->state->writers() != 0 || node->state->unlinked()) {
        return {};
      }
      node->state->NoteChange();  // a commit needs a change
    }
    cold_node_ = *id;
    return committer_.CommitNow(*id, static_cast<uint64_t>(st.st_size));
  };
  Status committed = commit();
  cold_node_ = 0;
  tree_.Forget(*id, 1);
  return committed;
}

// The search has ended, so the commit isn't begun again.
void ColdFiles::Cancel() {
  const NodePtr node = nodes_.Find(cold_node_);
  if (node == nullptr || node->state == nullptr) {
    return;
  }
  FileLock lock(*node->state);
  static_cast<void>(unfinished_.Cancel(node, *node->state));
}

void ColdFiles::NoteUse(const Node& node, int dir, const std::string& name, const struct stat& st) {
  if (search_ == nullptr || node.kind != StoredKind::kPlain || !search_->IsUnnoted(st)) {
    return;
  }
  if (node.state != nullptr) {
    FileLock lock(*node.state);
    if (node.state->job() != nullptr) {
      node.state->job()->cancelled = true;
    }
  }
  const struct timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW},
                                    {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  os_.SetTimes(dir, name, times);  // fails if the file isn't ours; then its owner's choice stands
}

}  // namespace xzfs
