// The operations of a mount, free of FUSE.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "base/report_once.h"
#include "base/unique_fd.h"
#include "cache/read_engine.h"
#include "cache/xz_reader.h"
#include "fs/node.h"
#include "fs/node_table.h"
#include "fs/open_order.h"
#include "fs/options.h"
#include "store/descriptor_cache.h"
#include "store/known_files.h"
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
};

// Decoded bytes of a file, whole pages of it.
struct DecodedRange {
  NodeId node = 0;
  uint64_t offset = 0;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;          // of bytes
  std::function<void()> on_stored = nullptr;  // to be called when the kernel has them; may be null
};

// What `user.xzfs.info` tells of a file.
struct FileFigures {
  std::string stored_name;
  StoredKind kind = StoredKind::kPlain;
  Format format = Format::kXz;
  uint64_t plain_size = 0;
  uint64_t stored_size = 0;
  uint64_t allocated_bytes = 0;
  std::optional<std::string> damage;
  // kCompressed and not damaged:
  uint64_t stream_count = 0;
  uint64_t block_count = 0;
  uint64_t largest_block = 0;
  std::vector<std::string> checks;
  std::string filters;  // of the first Block; empty without Blocks
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

  // Starts the threads that decode ahead.
  void Start() { engine_.Start(); }

  Result<LookupResult> Lookup(NodeId parent, const std::string& name);
  void Forget(NodeId node, uint64_t count);
  Result<struct stat> GetAttributes(NodeId node);
  Result<std::string> ReadLink(NodeId node);

  // `flags` as open(2) takes them. `keep_cache`: what the kernel has cached of the file is still
  // good.
  Result<std::unique_ptr<OpenFile>> Open(NodeId node, int flags, bool* keep_cache);
  Result<size_t> Read(const OpenFile& file, uint64_t offset, std::span<std::byte> out);
  void Close(std::unique_ptr<OpenFile> file);

  // Calls `add` for each line from `offset` on (0 is the start) until it returns false: that line
  // was not taken. `with_lookup` asks for DirectoryLine::lookup. `bytes_hint`: about how much the
  // caller will take. Keeps no state: a line's next_offset is the source's own.
  Status ReadDirectory(NodeId node, uint64_t offset, bool with_lookup, size_t bytes_hint,
                       const std::function<bool(const DirectoryLine&)>& add);

  Result<struct statvfs> StatVfs();
  Result<std::string> GetXattr(NodeId node, const std::string& key);
  // The names, each with its NUL.
  Result<std::string> ListXattr(NodeId node);

  // Answers the extended attributes "user.xzfs.*": nullopt if there is no such key on that node.
  using ControlXattrs =
      std::function<std::optional<Result<std::string>>(NodeId node, const std::string& key)>;
  // Not thread-safe: before Start.
  void SetControlXattrs(ControlXattrs control) { control_ = std::move(control); }

  // Is told what was decoded before anybody asked for it, on any thread. Returns at once. Null:
  // nobody.
  using DecodedListener = std::function<void(std::vector<DecodedRange>)>;
  // Not thread-safe: no file is open.
  void SetDecodedListener(DecodedListener listener) { decoded_ = std::move(listener); }

  Result<FileFigures> Describe(NodeId node);
  const ReadEngine& engine() const { return engine_; }
  const Options& options() const { return options_; }
  size_t known_nodes() { return nodes_.size(); }
  // Descriptors that are kept open now, and at most.
  size_t open_descriptors() { return files_.size() + directories_.size(); }
  size_t descriptor_limit() const { return files_.capacity() + directories_.capacity(); }

 private:
  friend class NodeFile;

  Filesystem(Descriptor source, const struct stat& root, const Options& options, Os& os);

  Result<NodePtr> FindNode(NodeId id);
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
  void ShowAttributes(const Node& node, struct stat* st) const;
  Result<LookupResult> Register(NodeId parent, StoredEntry entry);
  Status LookInto(NodeId parent, StoredEntry& entry, Node& node);
  Result<KnownFile> ReadIndex(NodeId parent, const StoredEntry& entry);
  void Drop(const std::vector<NodeId>& gone);
  void ReportCollision(NodeId parent, const StoredEntry& entry);
  Result<struct stat> StatName(const Node& node, int dir, const std::string& name);
  Result<bool> AddLines(const NodePtr& dir, const DescriptorPtr& descriptor,
                        const std::vector<struct RawLine>& lines, bool with_lookup,
                        const std::function<bool(const DirectoryLine&)>& add, bool& any);
  Result<std::optional<DirectoryLine>> MakeLine(const NodePtr& dir, const DescriptorPtr& descriptor,
                                                const struct RawLine& raw, bool with_lookup);
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

  Os& os_;
  const Options options_;
  const DescriptorPtr root_;
  KnownFiles known_;
  SourceDir names_;
  NodeTable nodes_;
  // Apart, so that walking through directories doesn't close the files that are open.
  DescriptorCache directories_;
  DescriptorCache files_;
  ControlXattrs control_;
  DecodedListener decoded_;
  OpenOrder open_order_;
  ReportOnce collisions_;
  ReportOnce damaged_files_;
  // Its threads use the above until they are joined.
  ReadEngine engine_;
  const MemoryCharge known_charge_;
};

class OpenFile {
 public:
  OpenFile(NodePtr node, std::unique_ptr<RandomAccessFile> content)
      : node_(std::move(node)), content_(std::move(content)) {}
  const NodePtr& node() const { return node_; }
  const RandomAccessFile& content() const { return *content_; }

 private:
  const NodePtr node_;
  const std::unique_ptr<RandomAccessFile> content_;
};

}  // namespace xzfs
