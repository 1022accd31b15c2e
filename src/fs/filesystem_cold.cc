// compress=cold: what the search for cold files asks of the file system.
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fs/filesystem.h"
#include "store/names.h"

namespace xzfs {
namespace {

constexpr const char* kNotesName = "cold";

}  // namespace

void Filesystem::MakeColdSearch() {
  if (options_.compress != Compress::kCold || options_.read_only) {
    return;
  }
  const int source = root_->descriptor.get();
  cold_ = std::make_unique<ColdSearch>(
      os_, source, options_.cold_after_s,
      ColdSearch::Calls{
          .stays_plain = [this](const std::string& path,
                                const struct stat& st) { return WhyPlain(path, st).has_value(); },
          .compress = [this](const std::string& path,
                             const struct stat& st) { return CommitCold(path, st); },
          .cancel = [this] { CancelCold(); },
          .load = [this,
                   source] { return Session::ReadShared(os_, source, kNotesName).value_or(""); },
          .keep = [this](const std::string& notes) -> Status {
            XZFS_ASSIGN_OR_RETURN(const auto session, SessionFor(kRootNode));
            return session->WriteShared(kNotesName, notes);
          }});
}

std::optional<ColdSearch::Figures> Filesystem::cold_figures() {
  return cold_ == nullptr ? std::nullopt : std::optional(cold_->figures());
}

Result<NodeId> Filesystem::LookupPath(const std::string& path) {
  NodeId at = kRootNode;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string stored = path.substr(begin, end - begin);
    const auto found = Lookup(at, StripEscape(stored).value_or(stored));
    if (at != kRootNode) {
      Forget(at, 1);
    }
    if (!found) {
      return tl::unexpected(found.error());
    }
    at = found->node;
    begin = end + 1;
  }
  return at;
}

// Commits the plain file and waits; does nothing if it is in use, or not what `st` says.
Status Filesystem::CommitCold(const std::string& path, const struct stat& st) {
  const auto id = LookupPath(path);
  if (!id) {
    return id.error().code == ENOENT ? Status() : tl::unexpected(id.error());
  }
  const auto commit = [&]() -> Status {
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, WithState(*id));
    if (node->kind != StoredKind::kPlain || FileId::Of(node->identity) != FileId::Of(st) ||
        nodes_.IsOpen(*id)) {
      return {};
    }
    {
      MutexLock lock(node->state->mutex);
      if (node->state->writers != 0 || node->state->unlinked) {
        return {};
      }
      node->state->changed = true;  // that is: there is something to commit
    }
    cold_node_ = *id;
    return committer_.CommitNow(*id, static_cast<uint64_t>(st.st_size));
  };
  Status committed = commit();
  cold_node_ = 0;
  Forget(*id, 1);
  return committed;
}

// The search has ended, so the commit isn't begun again.
void Filesystem::CancelCold() {
  const NodePtr node = nodes_.Find(cold_node_);
  if (node == nullptr || node->state == nullptr) {
    return;
  }
  MutexLock lock(node->state->mutex);
  static_cast<void>(CancelCommit(node, *node->state));
}

// Somebody opens a plain file to read it. We read with O_NOATIME, and where the source is mounted
// with noatime nothing else would tell. What is being compressed isn't cold any more.
void Filesystem::NoteUse(const Node& node, int dir, const std::string& name,
                         const struct stat& st) {
  if (cold_ == nullptr || node.kind != StoredKind::kPlain || !cold_->IsUnnoted(st)) {
    return;
  }
  if (node.state != nullptr) {
    MutexLock lock(node.state->mutex);
    if (node.state->job != nullptr) {
      node.state->job->cancelled = true;
    }
  }
  const struct timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW},
                                    {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  os_.SetTimes(dir, name, times);  // an error: it isn't ours, and whoever owns it decides
}

}  // namespace xzfs
