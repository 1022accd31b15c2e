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
#include "fs/cold_search.h"
#include "fs/commit_failures.h"
#include "fs/committer.h"
#include "fs/file_figures.h"
#include "fs/file_state.h"
#include "fs/inode_numbers.h"
#include "fs/listing.h"
#include "fs/node.h"
#include "fs/node_table.h"
#include "fs/open_order.h"
#include "fs/options.h"
#include "store/descriptor_cache.h"
#include "store/directory_reader.h"
#include "store/encode_pool.h"
#include "store/known_files.h"
#include "store/session.h"
#include "store/source_dir.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// A file as lookup and readdirplus report it. Each one handed out counts as one lookup of its node,
// which Forget takes back.
struct LookupResult {
  NodeId node = 0;
  struct stat attributes = {};
  // A compressed file that is decoded in well under a millisecond.
  bool small = false;
};

// One line of a directory.
struct DirectoryLine {
  std::string name;
  uint64_t next_offset =
      0;  // where to go on after this line; valid as long as the directory exists
  uint64_t inode = 0;
  uint8_t type = 0;                    // DT_*
  std::optional<LookupResult> lookup;  // if asked for; not for "." and ".."
  // It's a regular file that is stored as it is: a commit gives it another line.
  bool may_move = false;
};

// Decoded bytes of a file, whole pages of it.
struct DecodedRange {
  NodeId node = 0;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // of bytes
  // False when the file may have been changed since they were decoded.
  std::function<bool()> still_good;
  std::function<void()> on_stored = nullptr;  // to be called when the kernel has them; may be null
};

// An open file.
class OpenFile;

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

  Result<LookupResult> Lookup(NodeId parent, const std::string& name);
  void Forget(NodeId node, uint64_t count);
  Result<struct stat> GetAttributes(NodeId node);
  Result<std::string> ReadLink(NodeId node);

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
  struct Appended {
    size_t bytes = 0;
    // If they are not where the kernel takes them to be: what it has from here on is not the
    // file's.
    std::optional<uint64_t> stale_from = std::nullopt;
  };
  // The same at the end that the file really has, whoever else appends to it. `expected`: where the
  // kernel takes that to be. REQUIRES: the handle appends.
  Result<Appended> Append(const OpenFile& file, uint64_t expected,
                          std::span<const std::byte> bytes);
  // As fallocate(2).
  Status Allocate(const OpenFile& file, int mode, uint64_t offset, uint64_t length);
  // As lseek(2) with SEEK_DATA and SEEK_HOLE.
  Result<uint64_t> Seek(const OpenFile& file, uint64_t offset, int whence);
  // A descriptor of it is about to be closed. With sync_close, and if it's the last handle that may
  // write, waits until the file is committed.
  Status Flush(const OpenFile& file);
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

  // What is not set stays. Times may be UTIME_NOW.
  struct AttributeChange {
    std::optional<mode_t> mode;
    std::optional<uid_t> uid;
    std::optional<gid_t> gid;
    std::optional<uint64_t> size;
    std::optional<struct timespec> atime;
    std::optional<struct timespec> mtime;
  };
  // `file`: the handle it was asked through; may be null.
  Result<struct stat> SetAttributes(NodeId node, const AttributeChange& change,
                                    const OpenFile* file);
  // `caller`: whose set-group-id bits don't outlive an ACL of somebody who isn't in the group.
  Status SetXattr(NodeId node, const std::string& key, std::span<const char> value, int flags,
                  const Caller& caller);
  Status RemoveXattr(NodeId node, const std::string& key);

  // Waits until nothing is pending, without the time to settle. Fails if a file is left that should
  // have been committed: the message says how many, which is the first, and why.
  Status SyncCommits(const std::function<bool()>& interrupted = nullptr);
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
  // `caller`: who asks; of no account but for the mount's own attributes.
  Result<std::string> GetXattr(NodeId node, const std::string& key, const Caller& caller);
  // The names, each with its NUL. Those of "trusted." are for who may read them.
  Result<std::string> ListXattr(NodeId node, bool with_trusted);

  // Answers the extended attributes "user.xzfs.*": nullopt if there is no such key on that node.
  using ControlXattrs = std::function<std::optional<Result<std::string>>(
      NodeId node, const std::string& key, const Caller& caller)>;
  // Not thread-safe: before Start.
  void SetControlXattrs(ControlXattrs control) { control_ = std::move(control); }

  // Is told what was decoded before anybody asked for it, on any thread. Returns at once. Null:
  // nobody.
  using DecodedListener = std::function<void(std::vector<DecodedRange>)>;
  // Not thread-safe: no file is open.
  // `await` returns when nothing of the node is on its way to the kernel that was found to be still
  // good before the call.
  void SetDecodedListener(DecodedListener listener, std::function<void(NodeId)> await) {
    decoded_ = std::move(listener);
    await_stores_ = std::move(await);
  }

  // Is asked to make the kernel drop what it has cached of a file. Null: nobody.
  // Not thread-safe: before Start.
  void SetPageDropper(std::function<void(NodeId)> dropper) { drop_pages_ = std::move(dropper); }

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
  // Drops what was decoded, here and in the kernel's page cache.
  void DropCaches();
  // What was read, and how long it took.
  const ReadTimes& read_times() const { return read_times_; }
  History& history() { return history_; }

  Result<FileFigures> Describe(NodeId node);
  const ReadEngine& engine() const { return engine_; }
  // As they were when it was mounted.
  const Options& options() const { return options_; }
  size_t known_nodes() { return nodes_.size(); }
  // Descriptors that are kept open now, and at most.
  size_t open_descriptors() { return files_.size() + directories_.size(); }
  size_t descriptor_limit() const { return files_.capacity() + directories_.capacity(); }

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
  Result<LookupResult> Register(NodeId parent, StoredEntry entry);
  Status LookInto(NodeId parent, StoredEntry& entry, Node& node);
  Result<KnownFile> ReadIndex(NodeId parent, const StoredEntry& entry);
  void Drop(const std::vector<NodeId>& gone);
  void ReportCollision(NodeId parent, const StoredEntry& entry);
  template <class ByName, class ByFd>
  Result<size_t> AskByNameOrFd(NodeId id, const std::string& what, ByName by_name, ByFd by_fd);
  Result<struct stat> StatName(const Node& node, int dir, const std::string& name);
  // Where a listing goes to.
  struct Reply {
    Listing* listing = nullptr;  // may be null
    bool with_lookup = false;
    const std::function<bool(const DirectoryLine&)>& add;
    bool any = false;  // something was added
  };
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

  // What a change of a file goes to. No commit begins while it is there.
  struct Writable {
    NodePtr node;
    DescriptorPtr hot;                 // of a plain file, or
    std::shared_ptr<Overlay> overlay;  // of a compressed one
    int keeps_name = 0;                // FileState::keeps_name
    std::shared_ptr<FileState> counted = nullptr;
  };

  // filesystem_write.cc
  Status RequireWritable() const;
  Result<NodePtr> WithState(NodeId id);
  Result<NodePtr> BeginWriting(NodeId id, int flags, DescriptorPtr new_file = nullptr);
  void EndWriting(const NodePtr& node, const OpenFile* file = nullptr);
  void NoteClosing(NodeId id, const FileState& state) REQUIRES(state.mutex)
      EXCLUDES(closing_mutex_);
  void QueueClosing() EXCLUDES(closing_mutex_);
  void EndHandles();
  Status CancelCommit(const NodePtr& node, FileState& state) REQUIRES(state.mutex);
  Status RemoveTwin(const NodePtr& node, uint64_t inode);
  Result<std::shared_ptr<Overlay>> EditedOverlay(const NodePtr& node, FileState& state)
      REQUIRES(state.mutex);
  Result<Writable> PrepareChange(NodeId id, const OpenFile* file = nullptr, bool appends = false);
  Result<Writable> TryPrepareChange(NodeId id, const OpenFile* file, bool appends);
  void AttachOverlay(const Node& node, FileState& state, std::shared_ptr<Overlay> overlay,
                     std::shared_ptr<Session> session) REQUIRES(state.mutex);
  void NoteHalfOverwritten(const FileId& file) EXCLUDES(edited_mutex_);
  bool IsHalfOverwritten(const FileId& file) EXCLUDES(edited_mutex_);
  static tl::unexpected<Error> FailHalfOverwritten(const std::string& path);
  NodePtr FindEdited(const Identity& identity) EXCLUDES(edited_mutex_);
  void SyncOverlays() EXCLUDES(edited_mutex_);
  Status Resize(NodeId id, uint64_t size, const OpenFile* file = nullptr);
  Status SyncNode(const NodePtr& node, bool only_data);
  Result<std::shared_ptr<Session>> OurSession() EXCLUDES(session_mutex_);

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
  std::vector<std::string> NotedPaths() EXCLUDES(noted_mutex_);
  void ForgetPending();

  // filesystem_names.cc
  struct Place;
  struct Victim;
  struct RenameStep;
  struct PreparedRename;
  // The steps that were done of an operation that failed, the last one first.
  struct HalfDone {
    struct Step {
      DescriptorPtr from;
      std::string from_name;
      DescriptorPtr to;
      std::string to_name;
      uint64_t inode = 0;
    };
    std::vector<Step> steps;
    std::shared_ptr<Session> session;
    std::string intent;
    std::vector<DescriptorPtr> dirs;  // that the steps change
  };
  // An intent that is of no use as soon as `dirs` are on the disk.
  struct DoneIntent {
    std::shared_ptr<Session> session;
    std::string name;
    std::vector<DescriptorPtr> dirs;
  };
  Result<Place> PlaceAt(NodeId parent, const std::string& name);
  Result<std::optional<StoredEntry>> EntryAt(const Place& place);
  Result<std::unique_ptr<OpenFile>> OpenWith(NodeId id, int flags, const DescriptorPtr& new_file,
                                             bool* keep_cache);
  Result<NodePtr> CountOpen(NodeId id, bool may_write, bool may_note_use, bool* keep_cache);
  void RemoveOpen(const NodePtr& node);
  Status BeginWritingTo(NodeId id, int flags, const DescriptorPtr& new_file);
  Result<std::unique_ptr<OpenFile>> TryOpenWith(NodeId id, int flags, const DescriptorPtr& new_file,
                                                bool* keep_cache);
  Status CleanTwin(const NodePtr& dir, const DescriptorPtr& descriptor, const std::string& twin);
  Result<std::string> StoredNameFor(const Place& place, const StoredEntry& entry,
                                    const StoredEntry* replaced);
  Result<LookupResult> RegisterNew(const Place& place, const std::string& stored_name);
  Result<Victim> HoldVictim(const Place& place, const StoredEntry& entry, bool is_replaced);
  Result<Victim> PrepareRemoval(const Place& place, const StoredEntry& entry,
                                bool is_replaced = false);
  void FinishRemoval(const Victim& victim);
  void UndoRemoval(const Victim& victim);
  void LoseName(const Victim& victim);
  Status PrepareRename(PreparedRename& prepared) EXCLUDES(namespace_);
  Result<bool> TryRename(NodeId parent, const std::string& name, NodeId new_parent,
                         const std::string& new_name, unsigned flags, PreparedRename& prepared)
      REQUIRES(namespace_);
  Result<bool> RenameEntry(const Place& from, const Place& to, unsigned flags,
                           PreparedRename& prepared) REQUIRES(namespace_);
  Result<bool> Exchange(const Place& from, const StoredEntry& a, const Place& to,
                        const StoredEntry& b, PreparedRename& prepared) REQUIRES(namespace_);
  bool IsContentDurable(const Place& place, const StoredEntry& moved, PreparedRename& prepared)
      REQUIRES(namespace_);
  bool HasIntent(const std::vector<RenameStep>& steps, PreparedRename& prepared);
  Status RunSteps(const std::vector<RenameStep>& steps, PreparedRename& prepared, bool sync_between)
      REQUIRES(namespace_);
  bool Undo(const HalfDone& half) EXCLUDES(done_intents_mutex_);
  void FinishIntent(DoneIntent done) EXCLUDES(done_intents_mutex_);
  // Does nothing if there are fewer than `least`.
  void RemoveDoneIntents(size_t least) EXCLUDES(done_intents_mutex_);
  static std::vector<DescriptorPtr> DirectoriesOf(const std::vector<RenameStep>& steps);
  void UndoHalfDone();
  void Moved(const Place& from, const Place& to, const StoredEntry& entry,
             const std::string& stored_name);
  void NotePath(const NodePtr& node);
  mode_t MaskedMode(const Place& place, mode_t mode, const Caller& caller);
  Status RequireFree(const Place& place);
  Status RequireShort(const Place& place);
  size_t LongestNameIn(const Node& dir, int fd) EXCLUDES(limits_mutex_);
  static size_t LongestName(const struct statvfs& st, bool read_only);
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
  // How attributes of a file are changed. Each returns -errno.
  struct Changer {
    std::function<int(int dir, const std::string& name)> by_name;
    std::function<int(int fd)> by_fd;                      // of one that has no name any more
    std::function<Status(Overlay&)> of_overlay = nullptr;  // instead, if it has one; may be null
  };
  Status ChangeByNameOrFd(NodeId id, const Changer& changer);
  Status ChangeWith(const NodePtr& node, const Changer& changer);

  // filesystem_commit.cc
  friend class FileCommit;
  void QueueCommit(const NodePtr& node, bool is_awaited = false);
  Status FindNameOf(const NodePtr& node);
  uint64_t PlainSize(const NodePtr& node);
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

  // recovery.cc
  friend class Recovery;

  Os& os_;
  const Options options_;
  const std::string boot_id_;
  const DescriptorPtr root_;
  KnownFiles known_;
  SourceDir names_;
  InodeNumbers numbers_;
  NodeTable nodes_;
  // Apart, so that walking through directories doesn't close the files that are open.
  DescriptorCache directories_;
  DescriptorCache files_;
  ControlXattrs control_;
  DecodedListener decoded_;
  std::function<void(NodeId)> await_stores_;
  std::function<void(NodeId)> drop_pages_;
  std::function<void(NodeId, uint64_t)> stale_;
  OpenOrder open_order_;
  ListingTable listings_;
  // Operations that failed half way, and could not be undone then.
  std::atomic<bool> has_half_done_{false};
  std::vector<HalfDone> half_done_ GUARDED_BY(namespace_);
  Mutex done_intents_mutex_;
  std::vector<DoneIntent> done_intents_ GUARDED_BY(done_intents_mutex_);
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
  ReportOnce collisions_;
  ReportOnce damaged_files_;
  CommitFailures failures_;
  // Held shared by whatever looks at names or changes one, exclusively by operations that take two
  // steps on names, or change the identity that names a node's version.
  SharedMutex namespace_;
  Mutex session_mutex_;
  std::shared_ptr<Session> session_ GUARDED_BY(session_mutex_);  // null until it's needed
  // Handles that may write, of all files. Guards nothing.
  std::atomic<uint64_t> writers_{0};
  // Of earlier mounts; kept as long as overlays are in them.
  std::vector<std::shared_ptr<Session>> adopted_;
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
  // What the search for cold files waits for; 0: nothing.
  std::atomic<NodeId> cold_node_{0};
  // Null unless compress=cold. Last: its thread uses all of the above.
  std::unique_ptr<ColdSearch> cold_;
};

class OpenFile {
 public:
  OpenFile(NodePtr node, int flags) : node_(std::move(node)), flags_(flags) {}
  // As it was when the file was opened.
  const NodePtr& node() const { return node_; }
  NodeId id() const { return node_->id; }
  int flags() const { return flags_; }
  bool may_write() const { return (flags_ & O_ACCMODE) != O_RDONLY; }

 private:
  friend class Filesystem;

  const NodePtr node_;
  const int flags_;
  // It counts among FileState::closing, whose mutex guards it.
  mutable bool closing_ = false;
  // The content of the node as it was at the last read: a handle belongs to the node, not to a
  // stored file.
  mutable Mutex mutex_;
  mutable NodePtr seen_ GUARDED_BY(mutex_);
  mutable std::shared_ptr<const RandomAccessFile> content_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
