// What is done with one file: its content, its attributes' values, its figures.
#include <fcntl.h>
#include <linux/limits.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <ctime>
#include <utility>
#include <vector>

#include "base/page_memory.h"
#include "fs/filesystem.h"
#include "store/names.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// A plain file that changed so recently may change again without its times showing it.
constexpr int64_t kSettledSeconds = 2;

bool IsControlKey(std::string_view key) { return key.starts_with("user.xzfs."); }

// Until `out` is full or the file ends.
Result<size_t> PReadAll(Os& os, int fd, uint64_t offset, std::span<std::byte> out,
                        const std::function<std::string()>& name) {
  size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = os.PRead(fd, out.subspan(done), offset + done);
    if (got < 0) {
      return FailSource(static_cast<int>(-got), "read " + name());
    }
    if (got == 0) {
      break;
    }
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace

// The stored bytes of a node. A compressed file that was changed in place fails with ESTALE.
class NodeFile : public RandomAccessFile {
 public:
  NodeFile(Filesystem& fs, NodePtr node) : fs_(fs), node_(std::move(node)) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    return node_->kind == StoredKind::kCompressed && size() <= SmallFiles::kLargestFileBytes
               ? ReadSmall(offset, out)
               : ReadStored(offset, out);
  }

  uint64_t size() const override { return node_->identity.size_bytes; }

  void WillRead(uint64_t offset, uint64_t length) const override {
    if (const auto descriptor = fs_.OpenNode(node_)) {
      fs_.os_.StartReading((*descriptor)->descriptor.get(), offset, length);
    }
  }

 private:
  // From the bytes that a lookup or an earlier read left, or of the whole file, for the next reads.
  Result<size_t> ReadSmall(uint64_t offset, std::span<std::byte> out) const {
    SmallFiles::Bytes bytes = fs_.engine_.small_files.Find(node_->identity);
    if (bytes == nullptr) {
      std::vector<std::byte> whole(size());
      XZFS_ASSIGN_OR_RETURN(const size_t got, ReadStored(0, whole));
      whole.resize(got);
      bytes = fs_.engine_.small_files.Add(node_->identity, std::move(whole));
    }
    if (offset >= bytes->size()) {
      return size_t{0};
    }
    const size_t count = std::min<uint64_t>(out.size(), bytes->size() - offset);
    std::memcpy(out.data(), bytes->data() + offset, count);
    return count;
  }

  Result<size_t> ReadStored(uint64_t offset, std::span<std::byte> out) const {
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr descriptor, fs_.OpenNode(node_));
    const int fd = descriptor->descriptor.get();
    XZFS_ASSIGN_OR_RETURN(const size_t done, PReadAll(fs_.os_, fd, offset, out, [&] {
                            return fs_.nodes_.PathOf(node_->id);
                          }));
    if (node_->kind == StoredKind::kCompressed) {
      // After the read: if nothing has changed by now, the bytes are of this version.
      struct stat st = {};
      if (const int error = fs_.os_.FStat(fd, &st); error < 0) {
        return FailSource(-error, "stat " + fs_.nodes_.PathOf(node_->id));
      }
      if (!Filesystem::HasContentOf(*node_, st)) {
        return Fail(ESTALE, fs_.nodes_.PathOf(node_->id) +
                                " was changed in the source while it was open: open it again");
      }
    }
    return done;
  }

  Filesystem& fs_;
  const NodePtr node_;
};

Result<std::string> Filesystem::ReadLink(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  XZFS_RETURN_IF_ERROR(StatName(*node, parent->descriptor.get(), name));
  char target[PATH_MAX];
  const ssize_t length = os_.ReadLinkAt(parent->descriptor.get(), name, target);
  if (length == -ENOENT) {
    return Fail(ESTALE, nodes_.PathOf(id) + " is no longer there");
  }
  if (length < 0) {
    return FailErrno(static_cast<int>(-length), "readlink " + nodes_.PathOf(id));
  }
  std::string text(target, static_cast<size_t>(length));
  if (node->kind == StoredKind::kStrippedLink) {
    if (auto stripped = StripLinkTarget(text)) {
      return std::move(*stripped);
    }
  }
  return text;
}

std::shared_ptr<const RandomAccessFile> Filesystem::StoredOf(const NodePtr& node) {
  return std::make_shared<const NodeFile>(*this, node);
}

XzReader::Source Filesystem::SourceOf(const NodePtr& node) {
  return {.identity = node->identity,
          .format = node->format,
          .plain_size = node->plain_size,
          .file_id = node->file_id,
          .stored = StoredOf(node),
          .name = [this, id = node->id] { return nodes_.PathOf(id); }};
}

Result<std::unique_ptr<OpenFile>> Filesystem::Open(NodeId id, int flags, bool* keep_cache) {
  return OpenWith(id, flags, nullptr, keep_cache);
}

// `new_file`: open for writing, if it was made just now.
Result<std::unique_ptr<OpenFile>> Filesystem::OpenWith(NodeId id, int flags,
                                                       const DescriptorPtr& new_file,
                                                       bool* keep_cache) {
  // A commit may replace the stored file between two looks at it. The kernel would look the name up
  // again, but only once.
  constexpr int kTries = 4;
  for (int tries = 1;; ++tries) {
    auto opened = TryOpenWith(id, flags, new_file, keep_cache);
    if (opened || opened.error().code != ESTALE || tries == kTries) {
      return opened;
    }
  }
}

Result<std::unique_ptr<OpenFile>> Filesystem::TryOpenWith(NodeId id, int flags,
                                                          const DescriptorPtr& new_file,
                                                          bool* keep_cache) {
  const bool may_write = (flags & O_ACCMODE) != O_RDONLY;
  const bool may_note_use = cold_ != nullptr && !may_write && (flags & O_NOATIME) == 0;
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, CountOpen(id, may_write, may_note_use, keep_cache));
  if (may_write) {
    const Status begun = BeginWritingTo(id, flags, new_file);
    if (!begun) {
      RemoveOpen(node);
      return tl::unexpected(begun.error());
    }
  } else if (node->kind == StoredKind::kCompressed && (flags & O_DIRECT) == 0) {
    DecodeNextFiles(*node);
  }
  XZFS_ASSIGN_OR_RETURN(const NodePtr now, FindNode(id));
  return std::make_unique<OpenFile>(now, flags);
}

Status Filesystem::BeginWritingTo(NodeId id, int flags, const DescriptorPtr& new_file) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr writing, BeginWriting(id, flags, new_file));
  if ((flags & O_TRUNC) != 0) {
    if (Status truncated = Resize(id, 0); !truncated) {
      EndWriting(writing);
      return truncated;
    }
  }
  return {};
}

// Sees that the node can be opened, and counts that it is; no name goes meanwhile, so that whoever
// takes its last one sees that it's in use. RemoveOpen takes it back.
Result<NodePtr> Filesystem::CountOpen(NodeId id, bool may_write, bool may_note_use,
                                      bool* keep_cache) {
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(NodePtr node, FindNode(id));
  if (node->kind == StoredKind::kDirectory) {
    return Fail(EISDIR, nodes_.PathOf(id) + " is a directory");
  }
  if (node->kind != StoredKind::kPlain && node->kind != StoredKind::kCompressed) {
    return Fail(ENXIO, nodes_.PathOf(id) + " is not a regular file");
  }
  // A path that the kernel still remembers may lead to an old version: it is stated by name, an
  // open descriptor of the old file would not tell. ESTALE makes the kernel look again.
  if (IsHalfOverwritten(FileId::Of(node->identity))) {
    return FailHalfOverwritten(nodes_.PathOf(id));
  }
  std::string name;
  XZFS_ASSIGN_OR_RETURN(const DescriptorPtr parent, OpenParent(node, &name));
  auto stated = StatName(*node, parent->descriptor.get(), name);
  if (stated && may_note_use) {
    NoteUse(*node, parent->descriptor.get(), name, *stated);
    stated = StatName(*node, parent->descriptor.get(), name);
  }
  if (!stated && KeptDescriptor(node) == nullptr) {
    return tl::unexpected(stated.error());
  }
  const struct stat st = stated ? *stated : node->attributes;
  // Not before that: what was replaced while a lookup read it looks damaged.
  if (node->damage) {
    const bool is_unsupported = may_write && node->damage->is_unsupported;
    return Fail(is_unsupported ? EOPNOTSUPP : node->damage->code,
                nodes_.PathOf(id) + ": " + node->damage->message);
  }
  const bool compressed = node->kind == StoredKind::kCompressed;
  // The stored bytes of a small file may be here since the lookup.
  if (!may_write && (!compressed || engine_.small_files.Find(node->identity) == nullptr)) {
    XZFS_RETURN_IF_ERROR(OpenNode(node));
  }
  const bool unchanged = nodes_.AddOpen(id, Identity::Of(st));
  const bool settled = time(nullptr) - st.st_ctim.tv_sec > kSettledSeconds;
  *keep_cache = compressed || (unchanged && settled);
  return node;
}

std::unique_ptr<RandomAccessFile> Filesystem::ContentOf(const NodePtr& node, int flags) {
  if (node->kind != StoredKind::kCompressed) {
    return std::make_unique<NodeFile>(*this, node);
  }
  const bool direct = (flags & O_DIRECT) != 0;
  return std::make_unique<XzReader>(engine_, direct ? SourceOf(node) : BufferedSourceOf(node));
}

XzReader::Source Filesystem::BufferedSourceOf(const NodePtr& node) {
  XzReader::Source source = SourceOf(node);
  source.kernel_keeps = true;
  if (decoded_) {
    source.decoded = [this, node](uint64_t offset, const UnitPtr& unit) {
      OfferPages(*node, offset, unit);
    };
  }
  return source;
}

// Who opens small files in the order of their listing finds the next ones in the page cache.
void Filesystem::DecodeNextFiles(const Node& opened) {
  const NodeId dir = nodes_.LocationOf(opened.id).parent;
  const OpenOrder::Next next = open_order_.Opened(dir, opened.id);
  if (next.was_named) {
    engine_.stats.files_ahead_useful.Add();
  }
  DecodeFilesAhead(next.files);
}

void Filesystem::DecodeFilesAhead(std::span<const OpenOrder::Place> files) {
  // Waking a thread costs about what decoding a file does.
  constexpr size_t kFilesPerTask = 4;
  for (; decoded_ && !files.empty(); files = files.subspan(std::min(kFilesPerTask, files.size()))) {
    const auto portion = files.first(std::min(kFilesPerTask, files.size()));
    engine_.pool.TrySubmit([this, places = std::vector(portion.begin(), portion.end())] {
      std::vector<DecodedRange> decoded;
      for (const OpenOrder::Place& place : places) {
        if (open_order_.IsAhead(place)) {
          DecodeFileAhead(place.file, decoded);
        }
      }
      decoded_(std::move(decoded));
    });
  }
}

// The unit stays in the cache until the kernel has it: who reads it meanwhile need not decode it.
void Filesystem::DecodeFileAhead(NodeId id, std::vector<DecodedRange>& decoded) {
  const NodePtr node = nodes_.Find(id);
  if (node == nullptr || nodes_.IsOpen(id)) {
    return;
  }
  XzReader::Source source = SourceOf(node);
  source.kernel_keeps = true;
  source.decoded = [&](uint64_t offset, const UnitPtr& unit) {
    DecodedRange& range = decoded.emplace_back();
    range.node = node->id;
    range.offset = offset;
    range.bytes = unit->bytes();
    range.owner = unit;
    range.still_good = StillGood(*node);
    range.on_stored = ReleaseUnit(*node, offset);
  };
  XzReader reader(engine_, std::move(source));
  reader.DecodeAhead();
  engine_.stats.files_ahead.Add();
}

// The pages that `unit`, which begins at `offset`, holds whole.
void Filesystem::OfferPages(const Node& node, uint64_t offset, const UnitPtr& unit) {
  const std::span<const std::byte> bytes = unit->bytes();
  const uint64_t begin = RoundUp(offset, kPageBytes);
  const uint64_t unit_end = offset + bytes.size();
  const uint64_t end = unit_end == node.plain_size ? unit_end : unit_end / kPageBytes * kPageBytes;
  if (begin < end) {
    std::vector<DecodedRange> decoded;
    DecodedRange& range = decoded.emplace_back(DecodedRange{
        node.id, begin, bytes.subspan(begin - offset, end - begin), unit, StillGood(node)});
    if (range.bytes.size() == bytes.size()) {
      range.on_stored = ReleaseUnit(node, offset);
    }
    decoded_(std::move(decoded));
  }
}

// What the kernel has whole isn't kept twice.
std::function<void()> Filesystem::ReleaseUnit(const Node& node, uint64_t offset) {
  return [this, key = UnitKey{node.file_id, offset}] { engine_.cache.Release(key); };
}

// The node is what it was when the bytes were decoded, and nobody is about to change it.
std::function<bool()> Filesystem::StillGood(const Node& node) {
  return [this, id = node.id, file_id = node.file_id] {
    const NodePtr now = nodes_.Find(id);
    return now != nullptr && now->kind == StoredKind::kCompressed && now->file_id == file_id &&
           (now->state == nullptr || !now->state->may_differ);
  };
}

Result<size_t> Filesystem::Read(const OpenFile& file, uint64_t offset, size_t size,
                                std::vector<std::byte>& buffer,
                                std::vector<XzReader::Piece>& lent) {
  const auto begin = History::Clock::now();
  auto got = TryRead(file, offset, size, buffer, lent);
  const auto end = History::Clock::now();
  read_times_.Add(static_cast<uint64_t>(std::chrono::nanoseconds(end - begin).count()));
  history_.Note(end);
  return got;
}

Result<size_t> Filesystem::TryRead(const OpenFile& file, uint64_t offset, size_t size,
                                   std::vector<std::byte>& buffer,
                                   std::vector<XzReader::Piece>& lent) {
  // A commit or a rename may replace or move the stored file between two looks at it.
  constexpr int kTries = 4;
  for (int tries = 1;; ++tries) {
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(file.id()));
    auto got = ReadNode(file, node, offset, size, buffer, lent);
    if (got || got.error().code != ESTALE || tries == kTries) {
      return got;
    }
    SharedLock names(namespace_);  // until it is through
  }
}

Result<size_t> Filesystem::ReadNode(const OpenFile& file, const NodePtr& node, uint64_t offset,
                                    size_t size, std::vector<std::byte>& buffer,
                                    std::vector<XzReader::Piece>& lent) {
  std::shared_ptr<const RandomAccessFile> content;
  {
    MutexLock lock(file.mutex_);
    if (file.seen_ != node) {
      file.content_ = ContentOf(node, file.flags());
      file.seen_ = node;
    }
    content = file.content_;
  }
  std::shared_ptr<Overlay> overlay;
  DescriptorPtr hot;
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    // The end of a commit takes the overlay away and makes the node another one, under this lock.
    if (nodes_.Find(node->id) != node) {
      return Fail(ESTALE, nodes_.PathOf(node->id) + " is changing");
    }
    overlay = node->state->overlay;
    hot = node->kind == StoredKind::kPlain ? node->state->hot : nullptr;
  }
  const auto* const reader = dynamic_cast<const XzReader*>(content.get());
  if (overlay == nullptr && hot == nullptr && reader != nullptr) {
    XZFS_ASSIGN_OR_RETURN(auto piece, reader->Lend(offset, size));
    if (piece) {
      lent.push_back(*std::move(piece));
      return size_t{0};
    }
  }
  buffer.resize(std::max(buffer.size(), size));
  const std::span<std::byte> out = std::span(buffer).first(size);
  if (overlay != nullptr) {
    return overlay->ReadAt(*content, offset, out);
  }
  if (hot != nullptr) {
    return PReadAll(os_, hot->descriptor.get(), offset, out,
                    [&] { return nodes_.PathOf(node->id); });
  }
  return content->ReadAt(offset, out);
}

void Filesystem::Close(std::unique_ptr<OpenFile> file) {
  const NodeId id = file->id();
  const NodePtr node = nodes_.Find(id);
  if (node == nullptr) {
    return;  // those that may write keep it
  }
  if (file->may_write()) {
    EndWriting(node, file.get());
  }
  file.reset();
  RemoveOpen(node);
}

void Filesystem::RemoveOpen(const NodePtr& node) {
  if (nodes_.RemoveOpen(node->id)) {
    // What is pinned of one without a name goes with the node: somebody may be about to open it.
    files_.Close(node->id);
    engine_.small_files.Drop(node->identity);
    if (node->state != nullptr) {
      MutexLock lock(node->state->mutex);
      if (node->state->unlinked) {
        DropRead(*node);
      }
      if (node->state->unlinked && node->state->writers == 0) {
        node->state->hot = nullptr;
        LetDescriptorsGo(*node->state);
        ReleaseNode(node->id, *node->state);
      }
    }
  }
}

Result<std::string> Filesystem::GetXattr(NodeId id, const std::string& key) {
  if (IsControlKey(key)) {
    XZFS_RETURN_IF_ERROR(FindNode(id));
    if (control_) {
      if (auto answer = control_(id, key)) {
        return std::move(*answer);
      }
    }
    return Fail(ENODATA, "no attribute " + key);
  }
  // The kernel asks for file capabilities before each write: mostly there is nothing.
  constexpr size_t kUsualBytes = 256;
  std::string value(kUsualBytes, '\0');
  const auto ask = [&] {
    return AskByNameOrFd(
        id, "getxattr " + key,
        [&](int dir, const std::string& name) { return os_.GetXattrAt(dir, name, key, value); },
        [&](int fd) { return os_.FGetXattr(fd, key, value); });
  };
  Result<size_t> length = ask();
  if (!length && length.error().code == ERANGE) {
    value.assign(XATTR_SIZE_MAX, '\0');
    length = ask();
  }
  XZFS_RETURN_IF_ERROR(length);
  value.resize(*length);
  return value;
}

// Calls `by_name(dir, name)`, or `by_fd(fd)` if the file is open already or has no name any more.
// Each returns a length or -errno.
template <class ByName, class ByFd>
Result<size_t> Filesystem::AskByNameOrFd(NodeId id, const std::string& what, ByName by_name,
                                         ByFd by_fd) {
  SharedLock names(namespace_);
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  ssize_t length = 0;
  DescriptorPtr open = KeptDescriptor(node);
  if (open == nullptr && node->kind == StoredKind::kPlain && node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    open = node->state->hot;
  }
  if (open != nullptr) {
    length = by_fd(open->descriptor.get());
  } else {
    std::string name = ".";
    DescriptorPtr dir = root_;
    if (id != kRootNode) {
      XZFS_ASSIGN_OR_RETURN(dir, OpenParent(node, &name));
      XZFS_RETURN_IF_ERROR(StatName(*node, dir->descriptor.get(), name));
    }
    length = by_name(dir->descriptor.get(), name);
  }
  return length < 0 ? Result<size_t>(Fail(static_cast<int>(-length), what))
                    : static_cast<size_t>(length);
}

Result<std::string> Filesystem::ListXattr(NodeId id, bool with_trusted) {
  std::string stored(XATTR_LIST_MAX, '\0');
  XZFS_ASSIGN_OR_RETURN(
      const size_t length,
      AskByNameOrFd(
          id, "listxattr",
          [&](int dir, const std::string& name) { return os_.ListXattrAt(dir, name, stored); },
          [&](int fd) { return os_.FListXattr(fd, stored); }));
  stored.resize(length);
  // Ours are answered by name but not listed, so that `cp -a` and `rsync -X` never copy them; and a
  // stored one of that name can't pose as ours.
  std::string shown;
  for (size_t at = 0; at < stored.size();) {
    const std::string key(stored.c_str() + at);
    at += key.size() + 1;
    if (!IsControlKey(key) && (with_trusted || !key.starts_with("trusted."))) {
      shown += key;
      shown += '\0';
    }
  }
  return shown;
}

Result<FileFigures> Filesystem::Describe(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, FindNode(id));
  XZFS_ASSIGN_OR_RETURN(const struct stat st, StatNode(node));
  FileFigures figures;
  figures.stored_name = nodes_.LocationOf(id).stored_name;
  figures.kind = node->kind;
  figures.format = node->format;
  figures.stored_size = static_cast<uint64_t>(st.st_size);
  figures.allocated_bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  figures.plain_size = figures.stored_size;
  if (node->state != nullptr) {
    MutexLock lock(node->state->mutex);
    figures.edited = node->state->overlay != nullptr;
  }
  const auto failure = failures_.Find(id);
  if (node->kind == StoredKind::kPlain && options_.compress != Compress::kOff) {
    figures.stays_plain =
        failure ? std::optional(failure->message) : WhyPlain(nodes_.FullPathOf(id), st);
  }
  if (node->kind != StoredKind::kCompressed) {
    return figures;
  }
  if (node->damage) {
    (node->damage->is_unsupported ? figures.unsupported : figures.damage) = node->damage->message;
    figures.has_index = false;
    return figures;
  }
  const XzReader::Source source = SourceOf(node);
  XZFS_ASSIGN_OR_RETURN(const auto file,
                        engine_.files.Get(source.identity, source.format, source.file_id,
                                          *source.stored, source.name));
  const BlockIndex& index = file->index();
  figures.plain_size = index.plain_size();
  figures.stream_count = index.stream_count();
  figures.block_count = index.block_count();
  figures.largest_block = index.largest_block();
  for (const uint8_t check : index.Checks()) {
    figures.checks.push_back(CheckName(check));
  }
  if (index.block_count() != 0) {
    auto filters = DescribeFilters(*source.stored, index, index.Block(0));
    if (filters) {
      figures.filters = *filters;
    } else if (filters.error().is_unsupported) {
      figures.unsupported = filters.error().message;
    } else {
      figures.filters = "damaged: " + filters.error().message;
    }
  }
  return figures;
}

}  // namespace xzfs
