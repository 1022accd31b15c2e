// What is done before a mount serves: the sessions of daemons that are dead are adopted. Each step
// may be interrupted; the next mount does it again.
//
//   intents    completed, if their first step was taken
//   N.tmp      removed
//   overlays   attached to their files again, and queued. One whose base has what it says already
//              was committed; one that was noted as dropped and has no base belonged to a file that
//              was removed. Any other without its base goes to lost+found
//   pending    plain files are queued again; the twin that an interrupted commit left is removed
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "fs/filesystem.h"
#include "store/directory_reader.h"
#include "store/intents.h"
#include "store/names.h"

namespace xzfs {
namespace {

std::vector<std::string> WithSuffix(const std::vector<std::string>& files,
                                    std::string_view suffix) {
  std::vector<std::string> ids;
  for (const std::string& file : files) {
    if (file.ends_with(suffix)) {
      ids.push_back(file.substr(0, file.size() - suffix.size()));
    }
  }
  return ids;
}

bool IsBase(const struct stat& st, uint64_t inode, uint64_t size, int64_t mtime_ns) {
  const Identity identity = Identity::Of(st);
  return identity.inode == inode && identity.size_bytes == size && identity.mtime_ns == mtime_ns;
}

}  // namespace

class Recovery {
 public:
  explicit Recovery(Filesystem& fs) : fs_(fs), os_(fs.os_), source_(fs.root_->descriptor.get()) {}

  void Run();
  // Looks everywhere for a name of the stored file. ENOENT if there is none.
  Status FindName(const FileId& file);

 private:
  struct Orphan {
    std::shared_ptr<Session> session;
    std::shared_ptr<Overlay> overlay;
  };
  enum class Found { kBase, kPublished, kNothing, kUnknown };

  void Adopt(const std::shared_ptr<Session>& session);
  bool CompleteIntents(Session& session, const std::vector<std::string>& files);
  void LoadOverlay(const std::shared_ptr<Session>& session, const std::string& id);
  bool FinishMove(const Session& session, const std::string& id);
  FileId FileAt(const std::string& path, uint64_t inode);
  Found LookAt(const Overlay& overlay, const std::string& path);
  bool Settle(const Orphan& orphan, const std::string& path);
  Status Attach(const Orphan& orphan, const std::string& path);
  bool IsDirectory(int dir, const RawLine& line);
  void SearchBases();
  void SearchDirectory(const std::string& dir, std::vector<std::string>& below);
  void SettleOrphans();
  bool RequeuePending(const std::string& path);
  Result<NodePtr> NodeAt(const std::string& path);

  Filesystem& fs_;
  Os& os_;
  const int source_;
  std::vector<Orphan> orphans_;          // whose base isn't where it was seen last
  std::unordered_set<uint64_t> wanted_;  // inode numbers of these, and of more
  bool searched_all_ = true;
};

void Recovery::Run() {
  auto dead = Session::AdoptDead(os_, source_);
  if (!dead) {
    Log(LogLevel::kError, "recovery: " + dead.error().message);
    return;
  }
  for (auto& session : *dead) {
    Adopt(std::move(session));
  }
  if (!orphans_.empty()) {
    SearchBases();
    SettleOrphans();
  }
  std::erase_if(fs_.adopted_, [](const std::shared_ptr<Session>& session) {
    session->RemoveIfEmpty();
    return session.use_count() == 1 && !session->has_pending();  // no overlay is in it
  });
}

void Recovery::Adopt(const std::shared_ptr<Session>& session) {
  const auto files = session->ListFiles();
  if (!files) {
    Log(LogLevel::kError, "recovery: " + files.error().message);
    return;
  }
  fs_.adopted_.push_back(session);
  const bool complete = CompleteIntents(*session, *files);
  for (const std::string& id : WithSuffix(*files, ".tmp")) {
    if (complete) {  // an intent may need it
      session->Unlink(id + ".tmp");
    }
  }
  for (const std::string& id : WithSuffix(*files, ".log")) {
    LoadOverlay(session, id);
  }
  const std::unordered_set<std::string> names(files->begin(), files->end());
  for (const std::string& id : WithSuffix(*files, ".data")) {
    if (!names.contains(id + ".log")) {
      session->Unlink(id + ".data");  // never had a log, or lost it when it was removed
    }
  }
  if (const auto paths = session->ReadPending(); paths) {
    std::vector<std::string> unique = *paths;
    std::sort(unique.begin(), unique.end());
    unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
    bool all_noted = true;
    for (const std::string& path : unique) {
      all_noted = RequeuePending(path) && all_noted;
    }
    if (all_noted) {
      session->ForgetPending();
    }
  }
}

bool Recovery::CompleteIntents(Session& session, const std::vector<std::string>& files) {
  bool complete = true;
  for (const std::string& id : WithSuffix(files, ".intent")) {
    const std::string name = id + ".intent";
    const std::vector<IntentStep> steps = session.ReadIntent(name);
    const Status done = CompleteIntent(os_, source_, session, steps);
    if (done) {
      session.Unlink(name);
      continue;
    }
    Log(LogLevel::kError, "recovery: " + done.error().message);
    complete = false;
    for (const IntentStep& step : steps) {
      if (step.kind == IntentStep::Kind::kOverwrite && done.error().code != ESTALE) {
        fs_.NoteHalfOverwritten(FileAt(step.to, step.inode));
      }
    }
  }
  return complete;
}

void Recovery::LoadOverlay(const std::shared_ptr<Session>& session, const std::string& id) {
  auto overlay = Overlay::Load(os_, session->folder(), id, fs_.boot_id_, fs_.overlay_files_);
  if (!overlay) {
    if (overlay.error().of_the_source) {
      Log(LogLevel::kError, "recovery: " + overlay.error().message + "; it stays as it is");
      return;
    }
    if (FinishMove(*session, id)) {
      return;
    }
    // Without a whole header nothing that was written to it was acknowledged.
    Log(LogLevel::kWarning, "recovery: " + overlay.error().message + "; it is dropped");
    session->Unlink(id + ".log");
    session->Unlink(id + ".data");
    return;
  }
  if (const OverlayBase base = (*overlay)->base();
      fs_.IsHalfOverwritten(FileAt(base.path, base.inode))) {
    Log(LogLevel::kError, "recovery: the changes of " + base.path + " stay for the next mount");
    return;
  }
  if ((*overlay)->lost_changes()) {
    Log(LogLevel::kWarning, "recovery: changes of " + (*overlay)->base().path +
                                " that were not synced before the machine went down are gone");
  }
  const Orphan orphan{session, std::move(*overlay)};
  if (!Settle(orphan, orphan.overlay->base().path)) {
    orphans_.push_back(orphan);
  }
}

// The data went to lost+found, and the process ended before the log did.
bool Recovery::FinishMove(const Session& session, const std::string& id) {
  const auto lost = Session::FindLostAndFound(os_, source_);
  const std::string name = session.name() + "-" + id;
  struct stat st = {};
  return lost && os_.StatAt(lost->get(), name + ".data", &st) == 0 &&
         os_.Rename(session.folder(), id + ".log", lost->get(), name + ".log", 0) == 0;
}

// The file with that inode number which is stored at `path`; if it isn't, it would be on the
// source's own file system.
FileId Recovery::FileAt(const std::string& path, uint64_t inode) {
  const auto [dir_path, name] = SplitPath(path);
  const auto dir = OpenDirectoryAt(os_, source_, dir_path);
  struct stat st = {};
  const bool there = dir && os_.StatAt(dir->get(), name, &st) == 0 && st.st_ino == inode;
  return {there ? st.st_dev : fs_.root_device(), inode};
}

Recovery::Found Recovery::LookAt(const Overlay& overlay, const std::string& path) {
  const auto [dir_path, name] = SplitPath(path);
  const auto dir = OpenDirectoryAt(os_, source_, dir_path);
  struct stat st = {};
  const int error = dir ? -os_.StatAt(dir->get(), name, &st) : dir.error().code;
  if (error != 0) {
    return error == ENOENT || error == ENOTDIR || error == ELOOP ? Found::kNothing
                                                                 : Found::kUnknown;
  }
  const OverlayBase base = overlay.base();
  if (IsBase(st, base.inode, base.size_bytes, base.mtime_ns)) {
    return Found::kBase;
  }
  const auto as = overlay.published_as();
  return as && IsBase(st, as->inode, as->size_bytes, as->mtime_ns) ? Found::kPublished
                                                                   : Found::kNothing;
}

// Returns false if the overlay's base isn't at `path`.
bool Recovery::Settle(const Orphan& orphan, const std::string& path) {
  switch (LookAt(*orphan.overlay, path)) {
    case Found::kPublished: {
      // The process may have ended before it has synced the new name.
      const auto dir = OpenDirectoryAt(os_, source_, SplitPath(path).first);
      const int error = dir ? os_.Sync(dir->get(), false) : -dir.error().code;
      if (error == 0) {
        (void)orphan.overlay->Remove();
      } else {
        Log(LogLevel::kError, "recovery: the directory of " + path +
                                  " can't be synced; what is done with it the next mount looks at");
      }
      return true;
    }
    case Found::kBase: {
      const Status attached = Attach(orphan, path);
      if (!attached) {
        Log(LogLevel::kError, "recovery: " + attached.error().message +
                                  "; its pending changes stay in .xzfs for the next mount");
      }
      return true;
    }
    case Found::kUnknown:
      Log(LogLevel::kError, "recovery: " + path +
                                " can't be looked at; its pending changes stay in .xzfs for the "
                                "next mount");
      return true;
    case Found::kNothing:
      break;
  }
  return false;
}

Status Recovery::Attach(const Orphan& orphan, const std::string& path) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, NodeAt(path));
  if (node->kind != StoredKind::kCompressed) {
    fs_.Forget(node->id, 1);
    return Fail(EEXIST, path + " is hidden by another file");
  }
  bool is_first = false;
  {
    FileState& state = *node->state;
    MutexLock lock(state.mutex);
    is_first = state.overlay == nullptr;
    if (is_first) {
      fs_.AttachOverlay(*node, state, orphan.overlay, orphan.session);
      state.changed = true;
      state.may_differ = true;
    }
  }
  if (!is_first) {
    fs_.Forget(node->id, 1);
    return fs_.KeepLostOverlay(*orphan.session, *orphan.overlay, path,
                               "another mount had pending changes of the same file");
  }
  // The lookup that found it is the overlay's pin.
  (void)orphan.overlay->NotePath(path);
  fs_.QueueCommit(node);
  return {};
}

// The node of the stored file `path`, with a state and one lookup counted.
Result<NodePtr> Recovery::NodeAt(const std::string& path) {
  const auto [dir_path, name] = SplitPath(path);
  XZFS_ASSIGN_OR_RETURN(const NodeId parent, fs_.LookupPath(dir_path));
  auto node = [&, &name = name]() -> Result<NodePtr> {
    XZFS_ASSIGN_OR_RETURN(const NodePtr dir, fs_.FindNode(parent));
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr open, fs_.OpenNode(dir));
    XZFS_ASSIGN_OR_RETURN(auto entry, fs_.names_.Show(open->descriptor.get(), name));
    if (!entry) {
      return Fail(ENOENT, path + " is no longer there");
    }
    XZFS_ASSIGN_OR_RETURN(const LookupResult found, fs_.Register(parent, std::move(*entry)));
    return fs_.WithState(found.node);
  }();
  if (parent != kRootNode) {
    fs_.Forget(parent, 1);
  }
  return node;
}

// A directory above may have been renamed in a way that no note tells.
void Recovery::SearchBases() {
  for (const Orphan& orphan : orphans_) {
    wanted_.insert(orphan.overlay->base().inode);
    if (const auto as = orphan.overlay->published_as()) {
      wanted_.insert(as->inode);
    }
  }
  std::vector<std::string> dirs = {""};
  while (!dirs.empty() && !orphans_.empty()) {
    const std::string dir = std::move(dirs.back());
    dirs.pop_back();
    SearchDirectory(dir, dirs);
  }
}

bool Recovery::IsDirectory(int dir, const RawLine& line) {
  struct stat st = {};
  return line.type == DT_DIR ||
         (line.type == DT_UNKNOWN && os_.StatAt(dir, line.name, &st) == 0 && S_ISDIR(st.st_mode));
}

void Recovery::SearchDirectory(const std::string& dir, std::vector<std::string>& below) {
  const auto open = OpenDirectoryAt(os_, source_, dir);
  const auto lines = open ? ReadAllLines(os_, open->get())
                          : Result<std::vector<RawLine>>(tl::unexpected(open.error()));
  if (!lines) {
    Log(LogLevel::kWarning, "recovery: " + lines.error().message);
    searched_all_ = false;
    return;
  }
  for (const RawLine& line : *lines) {
    const std::string path = JoinPath(dir, line.name);
    if (IsDirectory(open->get(), line) && path != kPrivateFolder) {
      below.push_back(path);
    }
    if (!wanted_.contains(line.inode)) {
      continue;
    }
    std::erase_if(orphans_, [&](const Orphan& orphan) {
      const auto as = orphan.overlay->published_as();
      const bool may_be =
          line.inode == orphan.overlay->base().inode || (as && line.inode == as->inode);
      return may_be && Settle(orphan, path);
    });
  }
}

void Recovery::SettleOrphans() {
  if (!searched_all_) {
    Log(LogLevel::kError,
        "recovery: the files of some pending changes were not found; they stay in "
        ".xzfs for the next mount");
    return;
  }
  for (const Orphan& orphan : std::exchange(orphans_, {})) {
    Status settled;
    if (orphan.overlay->dropped()) {
      settled = orphan.overlay->Remove();
    } else {
      settled = fs_.KeepLostOverlay(*orphan.session, *orphan.overlay, orphan.overlay->base().path,
                                    "the compressed file was removed or changed by somebody else");
    }
    if (!settled) {
      Log(LogLevel::kError, "recovery: " + settled.error().message);
    }
  }
}

// Returns false if the note is still needed.
bool Recovery::RequeuePending(const std::string& path) {
  const auto node = NodeAt(path);
  if (!node) {
    return true;  // committed, renamed or removed since it was noted
  }
  bool noted = true;
  if ((*node)->kind == StoredKind::kPlain) {
    const auto [dir_path, name] = SplitPath(path);
    const auto dir = OpenDirectoryAt(os_, source_, dir_path);
    auto entry =
        dir ? fs_.names_.Show(dir->get(), name) : Result<std::optional<StoredEntry>>(std::nullopt);
    const Status cleaned = entry && *entry ? fs_.RemoveHiddenTwin(dir->get(), **entry) : Status();
    if (!cleaned) {
      Log(LogLevel::kWarning, "recovery: " + cleaned.error().message);
    }
    {
      MutexLock lock((*node)->state->mutex);
      (*node)->state->changed = true;
    }
    noted = fs_.NotePending(*node);
    fs_.QueueCommit(*node);
  }
  fs_.Forget((*node)->id, 1);
  return noted;
}

// ENOENT only if it surely has no name.
Status Recovery::FindName(const FileId& file) {
  std::vector<std::string> dirs = {""};
  while (!dirs.empty()) {
    const std::string dir = std::move(dirs.back());
    dirs.pop_back();
    const auto open = OpenDirectoryAt(os_, source_, dir);
    const auto lines = open ? ReadAllLines(os_, open->get())
                            : Result<std::vector<RawLine>>(tl::unexpected(open.error()));
    searched_all_ = searched_all_ && lines.has_value();
    for (const RawLine& line : lines ? *lines : std::vector<RawLine>()) {
      const std::string path = JoinPath(dir, line.name);
      if (line.inode == file.inode && line.type != DT_DIR && FileAt(path, file.inode) == file) {
        if (const auto node = NodeAt(path)) {
          fs_.Forget((*node)->id, 1);
          return {};
        }
        searched_all_ = false;  // it is being renamed
      }
      if (IsDirectory(open->get(), line) && path != kPrivateFolder) {
        dirs.push_back(path);
      }
    }
  }
  return searched_all_ ? Fail(ENOENT, "the file has no name any more")
                       : Fail(EIO, "the file was not found, but not all directories could be read");
}

// The node has lost the names that were known, and has others.
Status Filesystem::FindNameOf(const NodePtr& node) {
  return Recovery(*this).FindName(FileId::Of(node->identity));
}

void Filesystem::Start() {
  if (options_.read_only) {
    const size_t count = Session::CountOverlays(os_, root_->descriptor.get());
    if (count != 0) {
      Log(LogLevel::kWarning,
          std::to_string(count) + (count == 1 ? " file has" : " files have") +
              " changes that are not committed and not shown on a read-only mount: mount without "
              "ro, which completes what earlier mounts have left");
    }
  } else {
    Recovery(*this).Run();
  }
  engine_.Start();
  encoders_.Start();
  committer_.Start();
  if (cold_ != nullptr) {
    cold_->Start();
  }
}

}  // namespace xzfs
