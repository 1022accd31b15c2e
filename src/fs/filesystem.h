// The operations of a mount, free of FUSE.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/caller.h"
#include "base/history.h"
#include "base/identity.h"
#include "base/mutex.h"
#include "base/os.h"
#include "base/read_times.h"
#include "base/report_once.h"
#include "base/unique_fd.h"
#include "cache/read_engine.h"
#include "cache/xz_reader.h"
#include "fs/answers.h"
#include "fs/cold_search.h"
#include "fs/commit_failures.h"
#include "fs/committer.h"
#include "fs/descriptor_shares.h"
#include "fs/done_intents.h"
#include "fs/file_figures.h"
#include "fs/file_state.h"
#include "fs/half_done.h"
#include "fs/inode_numbers.h"
#include "fs/listing.h"
#include "fs/node.h"
#include "fs/node_table.h"
#include "fs/open_file.h"
#include "fs/open_order.h"
#include "fs/options.h"
#include "fs/zone_twins.h"
#include "fs/zones.h"
#include "store/descriptor_cache.h"
#include "store/directory_reader.h"
#include "store/encode_pool.h"
#include "store/known_files.h"
#include "store/session.h"
#include "store/source_dir.h"
#include "store/source_twins.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// All operations on a mount, in terms of node ids. Thread-safe. Error codes are what the caller of
// the system call gets. Operations block on I/O and decoding; no lock is held meanwhile.
//
// ESTALE means that the node isn't what is stored there now: the kernel looks the name up again.
class Filesystem {
 public:
  // `source` is the source's directory (O_PATH suffices) and is the only way by which it is
  // reached. `options` have their defaults resolved.
  static Result<std::unique_ptr<Filesystem>> Create(UniqueFd source, const Options& options);
  // For tests: with the calls to the system replaced. `os` outlives the filesystem.
  static Result<std::unique_ptr<Filesystem>> Create(UniqueFd source, const Options& options,
                                                    Os& os);
  ~Filesystem();
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  // Takes up what earlier mounts left unfinished, and starts the threads. Nobody asks before that.
  void Start();

  // A file of an older format may have to be decoded whole for its size, which takes minutes: with
  // `may_decode` false the call fails with EINPROGRESS instead.
  Result<LookupResult> Lookup(NodeId parent, const std::string& name, bool may_decode = true);
  void Forget(NodeId node, uint64_t count);
  Result<struct stat> GetAttributes(NodeId node);
  Result<std::string> ReadLink(NodeId node);

  // Open, Create and SetAttributes fail with EWOULDBLOCK while another mount keeps those away who
  // want to write to a file, because it's at the last steps of its commit: to be tried again.

  // `flags` as open(2) takes them. `keep_cache`: what the kernel has cached of the file is still
  // good.
  Result<std::unique_ptr<OpenFile>> Open(NodeId node, int flags, bool* keep_cache);
  // Up to `size` bytes. Decoded ones are lent; others are read into `buffer`, which is made large
  // enough, and their number is returned. REQUIRES: `lent` is empty.
  Result<size_t> Read(const OpenFile& file, uint64_t offset, size_t size,
                      std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent);
  void Close(std::unique_ptr<OpenFile> file);

  // Those that change something fail with EROFS on a mount that is read-only.

  // Writes all of `bytes`, or returns how many were written before the error. REQUIRES: the file
  // was opened for writing.
  Result<size_t> Write(const OpenFile& file, uint64_t offset, std::span<const std::byte> bytes);
  // The same at the end that the file really has, whoever else appends to it. `expected`: where the
  // kernel takes that to be. REQUIRES: the handle appends.
  Result<Appended> Append(const OpenFile& file, uint64_t expected,
                          std::span<const std::byte> bytes);
  // As fallocate(2).
  Status Allocate(const OpenFile& file, int mode, uint64_t offset, uint64_t length);
  // As lseek(2) with SEEK_DATA and SEEK_HOLE.
  Result<uint64_t> Seek(const OpenFile& file, uint64_t offset, int whence);
  // A descriptor of it is about to be closed. True, with sync_close and if it's the last handle
  // that may write: close is to wait until CommitNow says that the file is committed.
  Result<bool> Flush(const OpenFile& file);
  void CommitNow(NodeId id, const Committer::Done& done);
  Status Sync(const OpenFile& file, bool only_data);
  Status SyncDirectory(NodeId node);

  // Makes a plain file and opens it, or opens what is there already, unless `flags` has O_EXCL.
  Result<LookupResult> Create(NodeId parent, const std::string& name, mode_t mode, int flags,
                              const Caller& caller, std::unique_ptr<OpenFile>* file);
  // A file of another kind, or a plain one that is not opened.
  Result<LookupResult> MakeNode(NodeId parent, const std::string& name, mode_t mode, dev_t device,
                                const Caller& caller);
  Result<LookupResult> MakeDirectory(NodeId parent, const std::string& name, mode_t mode,
                                     const Caller& caller);
  Result<LookupResult> MakeSymlink(NodeId parent, const std::string& name,
                                   const std::string& target, const Caller& caller);
  Result<LookupResult> Link(NodeId node, NodeId parent, const std::string& name);
  Status Unlink(NodeId parent, const std::string& name);
  Status RemoveDirectory(NodeId parent, const std::string& name);
  // `flags` as renameat2(2) takes them.
  Status Rename(NodeId parent, const std::string& name, NodeId new_parent,
                const std::string& new_name, unsigned flags);

  // `file`: the handle it was asked through; may be null.
  Result<struct stat> SetAttributes(NodeId node, const AttributeChange& change,
                                    const OpenFile* file);
  // `caller`: whose set-group-id bits don't outlive an ACL of somebody who isn't in the group.
  Status SetXattr(NodeId node, const std::string& key, std::span<const char> value, int flags,
                  const Caller& caller);
  Status RemoveXattr(NodeId node, const std::string& key);

  // Commits what is pending, without the time to settle, and tells `done` when that is through.
  // Fails if a file is left that should have been committed: the message says how many, which is
  // the first, and why.
  void SyncCommits(Committer::Done done);
  // The same, and waits. Not for request threads.
  Status SyncCommits();
  // Ends the commits: `finish` waits until all are done, else they stop at once. What isn't
  // committed is parked: the next mount goes on. Nothing is asked of the file system any more.
  void EndCommits(bool finish);
  // Makes EndCommits stop at once, while another thread is in it.
  void ParkCommits();
  Committer::Figures commit_figures() { return committer_.figures(); }
  // At most `most` of those that can't be committed.
  std::vector<Uncommitted> uncommitted(size_t most);
  size_t uncommitted_count() { return failures_.count(); }
  size_t given_up_count() { return failures_.given_up(); }
  // With compress=cold.
  std::optional<ColdSearch::Figures> cold_figures();

  // Null on a mount that is read-only, where nothing moves.
  std::shared_ptr<Listing> OpenListing(NodeId dir);
  // Calls `add` for each line from `offset` on (0 is the start) until it returns false: that line
  // was not taken. `with_lookup` asks for DirectoryLine::lookup. `bytes_hint`: about how much the
  // caller will take. A line's next_offset is the source's own; all that is kept between two calls
  // is in `listing`, which may be null.
  Status ReadDirectory(NodeId node, Listing* listing, uint64_t offset, bool with_lookup,
                       size_t bytes_hint, const std::function<bool(const DirectoryLine&)>& add);

  // Of the file system that the node lies in.
  Result<struct statvfs> StatVfs(NodeId node);
  Result<std::string> GetXattr(NodeId node, const std::string& key);
  // Whether that may take as long as Lookup with `may_decode`.
  bool MayDecodeFor(NodeId node, const std::string& key);
  // The names, each with its NUL. Those of "trusted." are for who may read them.
  Result<std::string> ListXattr(NodeId node, bool with_trusted);

  // Answers the extended attributes "user.xzfs.*": nullopt if there is no such key on that node.
  using ControlXattrs =
      std::function<std::optional<Result<std::string>>(NodeId node, const std::string& key)>;
  // Not thread-safe: before Start.
  void SetControlXattrs(ControlXattrs control) { control_ = std::move(control); }

  // Attributes whose reading does something ("user.xzfs.cmd.*"): false if there is none such, else
  // `done` is called once, on any thread, maybe before it returns.
  using CommandDone = std::function<void(const Result<std::string>&)>;
  using ControlCommands = std::function<bool(NodeId node, const std::string& key,
                                             const Caller& caller, const CommandDone& done)>;
  // Not thread-safe: before Start.
  void SetControlCommands(ControlCommands commands) { commands_ = std::move(commands); }
  void RunCommand(NodeId node, const std::string& key, const Caller& caller,
                  const CommandDone& done);

  // Is told what was decoded before anybody asked for it, on any thread. Returns at once. Null:
  // nobody.
  using DecodedListener = std::function<void(std::vector<DecodedRange>)>;
  // Not thread-safe: no file is open.
  void SetDecodedListener(DecodedListener listener) { decoded_ = std::move(listener); }

  // Has the kernel drop what it has cached of files, on another thread, and calls `done`, which may
  // be null. Returns at once: false if it can't. Null: nobody can.
  using PageDropper =
      std::function<bool(std::vector<PageRange> ranges, std::function<void()> done)>;
  // Not thread-safe: before Start.
  void SetPageDropper(PageDropper dropper) { drop_pages_ = std::move(dropper); }

  // Is told, after the reply, that the pages that the kernel has of a file from `offset` on are not
  // what is stored. Returns at once. Null: nobody.
  // Not thread-safe: before Start.
  void SetStaleListener(std::function<void(NodeId, uint64_t offset)> listener) {
    stale_ = std::move(listener);
  }
  void TellStale(NodeId node, uint64_t offset) {
    if (stale_) {
      stale_(node, offset);
    }
  }

  // Changes one option, `key=value`, of those that can change while the mount runs. Errors: EINVAL
  // or ENOENT with one line for the user.
  Status SetLive(const std::string& option) EXCLUDES(live_mutex_);
  // The options as they are now.
  Options live_options() EXCLUDES(live_mutex_);
  // Drops what was decoded, here and in the kernel's page cache, then calls `done`.
  void DropCaches(std::function<void()> done);
  // What was read, and how long it took.
  const ReadTimes& read_times() const { return read_times_; }
  History& history() { return history_; }

  Result<FileFigures> Describe(NodeId node);
  const ReadEngine& engine() const { return engine_; }
  // As they were when it was mounted.
  const Options& options() const { return options_; }
  size_t known_nodes() { return nodes_.size(); }
  // Descriptors that are kept open now, and at most.
  size_t open_descriptors() {
    return files_.size() + directories_.size() + 2 * overlay_files_->size() + held_.used();
  }
  size_t descriptor_limit() const { return shares_.cached + shares_.overlays + shares_.held; }

 private:
  friend class NodeFile;

  Filesystem(Descriptor source, const struct stat& root, const Options& options, Os& os);

  Result<NodePtr> FindNode(NodeId id);
  uint64_t root_device() { return nodes_.Find(kRootNode)->identity.device; }
  // A descriptor for a directory or regular file, verified to be the node's.
  Result<DescriptorPtr> OpenNode(const NodePtr& node);
  Result<DescriptorPtr> OpenIn(const NodePtr& node, const DescriptorPtr& dir,
                               const std::string& stored_name);
  DescriptorCache& CacheOf(const Node& node) {
    return node.kind == StoredKind::kDirectory ? directories_ : files_;
  }
  // The descriptor of the directory that holds the node.
  Result<DescriptorPtr> OpenParent(const NodePtr& node, std::string* stored_name);
  Result<struct stat> StatNode(const NodePtr& node);
  // The stored file is the node's, and of its version.
  static bool IsNode(const Node& node, const struct stat& st);
  // The stored file has the content of the node's version. Who has a file open is not disturbed by
  // a chmod, a rename, a new link or an unlink: they change the ctime alone. The price: a rewrite
  // in place that keeps the size and then sets the mtime back is not noticed by them.
  static bool HasContentOf(const Node& node, const struct stat& st);
  Status ShowAttributes(const Node& node, struct stat* st) const;
  // `overlay`: that of the node, or null.
  Status ShowAttributes(const Node& node, const Overlay* overlay, struct stat* st) const;
  // `looked_into`: what LookInto has made of that version; may be null.
  Result<LookupResult> Register(NodeId parent, StoredEntry entry,
                                const Node* looked_into = nullptr);
  static Node NodeOf(const StoredEntry& entry);
  bool IsUnknownLegacy(const StoredEntry& entry);
  Status LookInto(NodeId parent, StoredEntry& entry, Node& node);
  Result<KnownFile> ReadIndex(NodeId parent, const StoredEntry& entry);
  void Drop(const std::vector<NodeId>& gone);
  void ReportCollision(NodeId parent, const StoredEntry& entry);
  template <class ByName, class ByFd>
  Result<size_t> AskByNameOrFd(NodeId id, const std::string& what, ByName by_name, ByFd by_fd);
  Result<struct stat> StatName(const Node& node, int dir, const std::string& name);
  struct Reply;
  Result<bool> AddLines(const NodePtr& dir, const DescriptorPtr& descriptor,
                        const std::vector<RawLine>& lines, Reply& reply);
  bool AddLine(const DirectoryLine& line, Reply& reply);
  Status AddMissed(const NodePtr& dir, const DescriptorPtr& descriptor, uint64_t offset,
                   Reply& reply);
  uint64_t ShownInode(const StoredEntry& entry);
  Result<std::optional<DirectoryLine>> MakeLine(const NodePtr& dir, const DescriptorPtr& descriptor,
                                                const RawLine& raw, bool with_lookup);
  // The stored bytes of a node that is known; it need not be open. A small compressed file costs
  // one open and one read at its first ReadAt, or none if a lookup has left its bytes in
  // SmallFiles. Fails with ESTALE if the stored file isn't the node's version any more.
  std::shared_ptr<const RandomAccessFile> StoredOf(const NodePtr& node);
  XzReader::Source SourceOf(const NodePtr& node);
  XzReader::Source BufferedSourceOf(const NodePtr& node);
  void OfferPages(const Node& node, uint64_t offset, const UnitPtr& unit);
  std::function<void()> ReleaseUnit(const Node& node, uint64_t offset);
  void DecodeNextFiles(const Node& opened);
  void DecodeFilesAhead(std::span<const OpenOrder::Place> files);
  void DecodeFileAhead(NodeId id, std::vector<DecodedRange>& decoded);
  std::function<bool()> StillGood(const Node& node);
  std::unique_ptr<RandomAccessFile> ContentOf(const NodePtr& node, int flags);
  Result<size_t> TryRead(const OpenFile& file, uint64_t offset, size_t size,
                         std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent);
  Result<size_t> ReadNode(const OpenFile& file, const NodePtr& node, uint64_t offset, size_t size,
                          std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent);
  // One that is used though the file has no name any more, or null.
  DescriptorPtr KeptDescriptor(const NodePtr& node);

  // Counts a change of a file that is on its way: no commit begins while it lives.
  class Changing {
   public:
    explicit Changing(std::shared_ptr<FileState> state) REQUIRES(state->mutex)
        : state_(std::move(state)) {
      ++state_->changing;
    }
    Changing(Changing&& other) noexcept = default;
    Changing& operator=(Changing&&) = delete;
    ~Changing() {
      if (state_ != nullptr) {
        MutexLock lock(state_->mutex);
        --state_->changing;
      }
    }

   private:
    std::shared_ptr<FileState> state_;
  };
  // What a change of a file goes to.
  struct Changer;
  struct Writable;

  // filesystem_write.cc
  Status RequireWritable() const;
  Result<NodePtr> WithState(NodeId id);
  Result<NodePtr> BeginWriting(NodeId id, int flags, DescriptorPtr new_file = nullptr);
  void EndWriting(const NodePtr& node, const OpenFile* file = nullptr);
  Status HoldDescriptors(const NodePtr& node, FileState& state) REQUIRES(state.mutex);
  void LetDescriptorsGo(FileState& state) REQUIRES(state.mutex);
  void NoteClosing(NodeId id, const FileState& state) REQUIRES(state.mutex)
      EXCLUDES(closing_mutex_);
  void QueueClosing() EXCLUDES(closing_mutex_);
  void EndHandles();
  Status CancelCommit(const NodePtr& node, FileState& state) REQUIRES(state.mutex);
  Status RemoveTwin(const NodePtr& node, const StoredKey& twin);
  Result<std::shared_ptr<Overlay>> EditedOverlay(const NodePtr& node, FileState& state)
      REQUIRES(state.mutex);
  Result<Writable> PrepareChange(NodeId id, const OpenFile* file = nullptr, bool appends = false);
  void AttachOverlay(const Node& node, FileState& state, std::shared_ptr<Overlay> overlay,
                     std::shared_ptr<Session> session, ZonePtr zone) REQUIRES(state.mutex);
  void NoteHalfOverwritten(const FileId& file) EXCLUDES(edited_mutex_);
  bool IsHalfOverwritten(const FileId& file) EXCLUDES(edited_mutex_);
  static tl::unexpected<Error> FailHalfOverwritten(const std::string& path);
  NodePtr FindEdited(const Identity& identity) EXCLUDES(edited_mutex_);
  bool HasEditedFiles() EXCLUDES(edited_mutex_);
  std::vector<NodeId> EditedFiles() EXCLUDES(edited_mutex_);
  void SyncOverlays() EXCLUDES(edited_mutex_);
  Status Resize(NodeId id, uint64_t size, const OpenFile* file = nullptr);
  Status SyncName(const NodePtr& node);
  Status SyncNode(const NodePtr& node, bool only_data);
  void NoteSyncFailed(const NodePtr& node, const Error& error);

  // filesystem_plain.cc
  struct Head;
  Status OpenHot(const NodePtr& node, FileState& state, bool appends) REQUIRES(state.mutex);
  Result<Descriptor> OpenForWriting(int dir, const std::string& name, bool appends,
                                    bool* only_appends);
  Status PrepareHot(const NodePtr& node, FileState& state, bool appends) REQUIRES(state.mutex);
  Status EscapeName(NodeId id);
  Status KeepPlainLook(const Writable& to, const std::function<void(Head&)>& change);
  Status RequireChangeable(const NodePtr& node);
  bool NotePending(const NodePtr& node, bool moved = false);
  void ForgetNote(NodeId id) EXCLUDES(noted_mutex_);
  bool IsNoted(NodeId id) EXCLUDES(noted_mutex_);
  std::vector<std::string> NotedPaths(const Zone& zone) EXCLUDES(noted_mutex_);
  void ForgetPending();

  // filesystem_names.cc
  struct Place;
  struct Victim;
  class RemovalNote;
  struct RenameStep;
  struct RenameWhiteout;
  struct PreparedRename;
  Status PrepareToName(NodeId parent);
  Result<Place> PlaceAt(NodeId parent, const std::string& name);
  Result<std::optional<StoredEntry>> EntryAt(const Place& place);
  Result<std::unique_ptr<OpenFile>> OpenWith(NodeId id, int flags, const DescriptorPtr& new_file,
                                             bool* keep_cache);
  Result<NodePtr> CountOpen(NodeId id, bool may_write, bool may_note_use, bool* keep_cache);
  void RemoveOpen(const NodePtr& node);
  Status BeginWritingTo(NodeId id, int flags, const DescriptorPtr& new_file);
  Result<std::unique_ptr<OpenFile>> TryOpenWith(NodeId id, int flags, const DescriptorPtr& new_file,
                                                bool* keep_cache);
  Result<std::string> StoredNameFor(const Place& place, const StoredEntry& entry,
                                    const StoredEntry* replaced);
  Result<LookupResult> RegisterNew(const Place& place, const std::string& stored_name);
  Result<Victim> HoldVictim(const Place& place, const StoredEntry& entry, bool is_replaced);
  Result<Victim> PrepareRemoval(const Place& place, const StoredEntry& entry,
                                bool is_replaced = false);
  void DropRead(const Node& node);
  Status PinNameless(NodeId id, const DescriptorPtr& open);
  void FinishRemoval(const Victim& victim);
  void UndoRemoval(const Victim& victim);
  void LoseName(const Victim& victim);
  Status PrepareRename(PreparedRename& prepared) EXCLUDES(namespace_);
  Result<bool> TryRename(NodeId parent, const std::string& name, NodeId new_parent,
                         const std::string& new_name, unsigned flags, PreparedRename& prepared,
                         RenameWhiteout& whiteout) REQUIRES(namespace_);
  Result<bool> RenameEntry(const Place& from, const Place& to, unsigned flags,
                           PreparedRename& prepared) REQUIRES(namespace_);
  Result<bool> Exchange(const Place& from, const StoredEntry& a, const Place& to,
                        const StoredEntry& b, PreparedRename& prepared) REQUIRES(namespace_);
  bool IsContentDurable(const Place& place, const StoredEntry& moved, PreparedRename& prepared)
      REQUIRES(namespace_);
  bool HasIntent(const std::vector<RenameStep>& steps, PreparedRename& prepared);
  Status RunSteps(const std::vector<RenameStep>& steps, PreparedRename& prepared)
      REQUIRES(namespace_);
  bool Undo(const HalfDone& half);
  void UndoHalfDone();
  void Moved(const Place& from, const Place& to, const StoredEntry& entry,
             const std::string& stored_name);
  void NotePath(const NodePtr& node);
  mode_t MaskedMode(const Place& place, mode_t mode, const Caller& caller);
  Status RequireFree(const Place& place);
  Status RequireShort(const Place& place);
  size_t LongestNameIn(const Node& dir, int fd) EXCLUDES(limits_mutex_);
  void NoteLongName(const std::string& name) EXCLUDES(limits_mutex_);
  bool IsLongNameKnown(const std::string& name) EXCLUDES(limits_mutex_);
  Status PrepareMove(const Place& from, const StoredEntry& entry);
  Status RemoveHiddenTwin(int dir, const StoredEntry& entry);
  void DropOverlay(NodeId id, FileState& state) REQUIRES(state.mutex);
  void DetachOverlay(NodeId id, FileState& state) REQUIRES(state.mutex);
  void ReleaseNode(NodeId id, FileState& state) REQUIRES(state.mutex);
  void ForgetEdited(NodeId id, const FileId& file) EXCLUDES(edited_mutex_);

  // filesystem_attributes.cc
  Status ChangeStored(const NodePtr& node, const AttributeChange& change);
  Status ChangeTimes(const NodePtr& node, const AttributeChange& change);
  Status Refresh(const NodePtr& node);
  Status RefreshFrom(const NodePtr& node, const struct stat& st, const std::string& name);
  Status ChangeByNameOrFd(NodeId id, const Changer& changer);
  Status ChangeWith(const NodePtr& node, const Changer& changer);

  // filesystem_commit.cc
  friend class FileCommit;
  void QueueCommit(const NodePtr& node, bool is_awaited = false);
  Status FindNameOf(const NodePtr& node);
  uint64_t PlainSize(const NodePtr& node);
  void EndSessions(Zone& zone, bool idle);
  void RetryGivenUp();
  Status WithUncommitted(const Status& synced);
  Result<Committer::Outcome> CommitNode(NodeId id, bool is_awaited);
  void NoteCommitError(NodeId id, Error& error, bool is_given_up);
  bool NoteFailure(NodeId id, const Error& error, bool is_given_up);
  void ClearFailure(NodeId id);
  bool MayCommit(const NodePtr& node, const struct stat& st);
  std::optional<std::string> WhyPlain(const std::string& stored, const struct stat& st) const;

  // filesystem_cold.cc
  void MakeColdSearch();
  Result<NodeId> LookupPath(const std::string& path);
  Status CommitCold(const std::string& path, const struct stat& st);
  void CancelCold();
  void NoteUse(const Node& node, int dir, const std::string& name, const struct stat& st);
  EncodeOptions encode_options() EXCLUDES(live_mutex_);
  Status KeepLostOverlay(Session& session, Overlay& overlay, const std::string& path,
                         const std::string& why);

  // filesystem_zones.cc
  NodePtr KnownNode(const StoredEntry& entry);
  void MakeRootZone();
  // Before a name in the directory `id` is looked at. Blocks: on what an earlier mount left there.
  Status EnterDirectory(NodeId id) EXCLUDES(namespace_, entering_mutex_);
  bool IsPrivate(NodeId dir, int fd, const std::string& name);
  ZonePtr NewZone(NodeId top, const FileFacts& facts, bool is_border);
  void ReportCopy(NodeId id);
  Status TakeUp(NodeId id, const DescriptorPtr& top, const FileFacts& facts, int home)
      EXCLUDES(entering_mutex_);
  bool IsOthersSource(int top, int home);
  bool IsOurSession(const FileId& folder);
  std::vector<ZonePtr> Zones() EXCLUDES(zones_mutex_);
  void KeepZone(const ZonePtr& zone, const DescriptorPtr& top) REQUIRES(zone->mutex);
  // Our session in the zone of a file or directory, made if there is none.
  Result<StoredEntry> LookupIn(const Node& parent, int dir, const std::string& name);
  // Null if it isn't known any more.
  DescriptorPtr OpenTop(NodeId top);
  Result<std::shared_ptr<Session>> SessionFor(NodeId id);
  Result<std::shared_ptr<Session>> SessionFor(const ZonePtr& zone);
  bool IsRefused(Zone& zone);
  bool IsMountPoint(const Zone& zone, int dir, const std::string& name);
  std::string HomeOf(const Session& session);
  Result<std::shared_ptr<Session>> MakeSession(const ZonePtr& zone) REQUIRES(zone->mutex);
  void Refuse(Zone& zone, const Error& error) REQUIRES(zone.mutex);
  std::string PathInZone(NodeId id);
  std::string PathInZone(NodeId dir, const std::string& stored_name);
  Status RequireWritableAt(NodeId id);
  bool Reaches(Session& from, Session& to);
  void SplitZone(NodeId file, const ZonePtr& zone) EXCLUDES(entering_mutex_);
  bool RemoveHome(const Place& place, const StoredEntry& entry);

  // recovery.cc
  friend class Recovery;
  Status RecoverZone(const ZonePtr& zone, const DescriptorPtr& top);
  void SearchZone(const ZonePtr& zone, DescriptorPtr top);

  // filesystem_orphans.cc
  void AddOrphans(const ZonePtr& zone, std::vector<Orphan> orphans) EXCLUDES(edited_mutex_);
  std::vector<Orphan> OrphansOf(const ZonePtr& zone) EXCLUDES(edited_mutex_);
  bool TakeOrphan(const Orphan& orphan) EXCLUDES(edited_mutex_);
  NodePtr AttachOrphan(const NodePtr& node) EXCLUDES(edited_mutex_);
  void EndSearches() EXCLUDES(zones_mutex_);

  Os& os_;
  const Options options_;
  const std::string boot_id_;
  const DescriptorPtr root_;
  KnownFiles known_;
  ZoneTwins twins_;
  SourceDir names_;
  InodeNumbers numbers_;
  NodeTable nodes_;
  const DescriptorShares shares_;
  // Apart, so that walking through directories doesn't close the files that are open.
  DescriptorCache directories_;
  DescriptorCache files_;
  const std::shared_ptr<OverlayFileCache> overlay_files_;
  DescriptorQuota held_;
  ControlXattrs control_;
  DecodedListener decoded_;
  ControlCommands commands_;
  PageDropper drop_pages_;
  std::function<void(NodeId, uint64_t)> stale_;
  OpenOrder open_order_;
  ListingTable listings_;
  // Operations that failed half way, and could not be undone then.
  std::atomic<bool> has_half_done_{false};
  std::vector<HalfDone> half_done_ GUARDED_BY(namespace_);
  DoneIntents done_intents_;
  Mutex closing_mutex_;
  std::unordered_set<NodeId> closing_ GUARDED_BY(closing_mutex_);
  // How long names may be, by device: asking may take a network.
  Mutex limits_mutex_;
  std::unordered_map<uint64_t, size_t> longest_names_ GUARDED_BY(limits_mutex_);
  std::unordered_set<std::string> long_names_ GUARDED_BY(limits_mutex_);
  // Plain files that the list of pending ones in our session has.
  Mutex noted_mutex_;
  std::unordered_set<NodeId> noted_ GUARDED_BY(noted_mutex_);
  // Files with an overlay, by what it is laid over.
  Mutex edited_mutex_;
  std::unordered_map<FileId, NodeId, FileIdHash> edited_ GUARDED_BY(edited_mutex_);
  // Files of which an overwrite in place failed half way: the next mount completes it, and would
  // undo what was changed by then.
  std::unordered_set<FileId, FileIdHash> half_overwritten_ GUARDED_BY(edited_mutex_);
  std::atomic<bool> has_half_overwritten_{false};
  // Overlays of which the base was not found yet, by what it is.
  std::unordered_multimap<FileId, Orphan, FileIdHash> orphans_ GUARDED_BY(edited_mutex_);
  std::atomic<bool> has_orphans_{false};
  ReportOnce collisions_;
  ReportOnce damaged_files_;
  CommitFailures failures_;
  // Held shared by whatever looks at names or changes one, exclusively by operations that take two
  // steps on names, or change the identity that names a node's version.
  SharedMutex namespace_;
  // Held while what earlier mounts left in a zone is taken up, and while one is made.
  Mutex entering_mutex_;
  Mutex zones_mutex_;
  // The root's, and those with sessions.
  std::vector<ZonePtr> zones_ GUARDED_BY(zones_mutex_);
  std::atomic<bool> has_foreign_{false};
  // Searches for the bases of orphans; each ends when it's through, or soon after this is set.
  std::atomic<bool> searches_end_{false};
  std::vector<std::thread> searches_ GUARDED_BY(zones_mutex_);
  // How often a directory was renamed.
  std::atomic<uint64_t> directory_moves_{0};
  ReportOnce copies_;
  // Handles that may write, of all files. Guards nothing.
  std::atomic<uint64_t> writers_{0};
  // Its threads use the above until they are joined.
  ReadEngine engine_;
  const MemoryCharge known_charge_;
  ReadTimes read_times_;
  History history_;
  Mutex live_mutex_;
  Options live_ GUARDED_BY(live_mutex_);
  EncodePool encoders_;
  // Its threads use all of the above.
  Committer committer_;
  // No commit begins any more. Set without a lock, before it's looked for commits to cancel; looked
  // at under the mutex of the file under which its commit is made known.
  std::atomic<bool> is_parking_{false};
  // What the search for cold files waits for; 0: nothing.
  std::atomic<NodeId> cold_node_{0};
  // Null unless compress=cold. Last: its thread uses all of the above.
  std::unique_ptr<ColdSearch> cold_;
};

}  // namespace xzfs
