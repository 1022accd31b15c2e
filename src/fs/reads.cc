// A read uses the node's present state: the plain file itself, the decoded bytes of a compressed
// one (XzReader), or an overlay above these. If the stored file is replaced during the read, the
// read begins again.
//
// Bytes that were decoded ahead are offered to the kernel's page cache: the rest of a Block, and
// the next small files in the order of a listing (OpenOrder).
#include "fs/reads.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "base/page_memory.h"
#include "base/try.h"
#include "fs/file_state.h"
#include "fs/kernel_cache.h"
#include "fs/open_file.h"
#include "store/overlay.h"

namespace xzfs {
namespace {

// Reads until `out` is full or the file ends.
Result<size_t> ReadStoredAt(Os& os, int fd, uint64_t offset, std::span<std::byte> out,
                            const std::function<std::string()>& name) {
  const ssize_t got = os.ReadAll(fd, out, offset);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read " + name());
  }
  return static_cast<size_t>(got);
}

// The stored bytes of a known node; it need not be open. A small compressed file costs one open and
// one read at its first ReadAt, or none if a lookup has left its bytes in SmallFiles. Fails with
// ESTALE if the stored file isn't the node's version any more.
class NodeFile : public RandomAccessFile {
 public:
  NodeFile(NodeTree& tree, ReadEngine& engine, Os& os, NodePtr node)
      : tree_(tree), engine_(engine), os_(os), node_(std::move(node)) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override {
    return node_->kind == StoredKind::kCompressed && size() <= SmallFiles::kLargestFileBytes
               ? ReadSmall(offset, out)
               : ReadStored(offset, out);
  }

  uint64_t size() const override { return node_->identity.size_bytes; }

  void WillRead(uint64_t offset, uint64_t length) const override {
    if (const auto descriptor = tree_.OpenNode(node_)) {
      os_.StartReading((*descriptor)->descriptor.get(), offset, length);
    }
  }

 private:
  // Uses the bytes that a lookup or an earlier read has kept; else reads the whole file and keeps
  // it for the next reads.
  Result<size_t> ReadSmall(uint64_t offset, std::span<std::byte> out) const {
    SmallFiles::Bytes bytes = engine_.small_files.Find(node_->identity);
    if (bytes == nullptr) {
      std::vector<std::byte> whole(size());
      XZFS_ASSIGN_OR_RETURN(const size_t got, ReadStored(0, whole));
      whole.resize(got);
      bytes = engine_.small_files.Add(node_->identity, std::move(whole));
    }
    if (offset >= bytes->size()) {
      return size_t{0};
    }
    const size_t count = std::min<uint64_t>(out.size(), bytes->size() - offset);
    std::memcpy(out.data(), bytes->data() + offset, count);
    return count;
  }

  Result<size_t> ReadStored(uint64_t offset, std::span<std::byte> out) const {
    const FileId file = FileId::Of(node_->identity);
    if (const auto base = tree_.overwritten().Find(file)) {
      return ReadNewContent(*base, offset, out);
    }
    XZFS_ASSIGN_OR_RETURN(const DescriptorPtr descriptor, tree_.OpenNode(node_));
    const int fd = descriptor->descriptor.get();
    XZFS_ASSIGN_OR_RETURN(const size_t done, ReadStoredAt(os_, fd, offset, out, [&] {
                            return tree_.nodes().PathOf(node_->id);
                          }));
    if (node_->kind == StoredKind::kCompressed) {
      // Checked after the read: if nothing has changed until now, the bytes are of this version.
      struct stat st = {};
      if (const int error = os_.FStat(fd, &st); error < 0) {
        return FailErrno(-error, "stat " + tree_.nodes().PathOf(node_->id));
      }
      if (!NodeTree::HasContentOf(*node_, st) || tree_.overwritten().Find(file) != nullptr) {
        return Fail(ESTALE, tree_.nodes().PathOf(node_->id) +
                                " was changed in the source while it was open: open it again");
      }
    }
    return done;
  }

  // Reads the new content while the stored file is being overwritten.
  Result<size_t> ReadNewContent(const OverwrittenBase& base, uint64_t offset,
                                std::span<std::byte> out) const {
    if (!NodeTree::HasContentOf(*node_, base.shown)) {
      return Fail(ESTALE, tree_.nodes().PathOf(node_->id) + " has been changed by a commit");
    }
    return ReadStoredAt(os_, base.new_content->descriptor.get(), offset, out,
                        [&] { return tree_.nodes().PathOf(node_->id); });
  }

  NodeTree& tree_;
  ReadEngine& engine_;
  Os& os_;
  const NodePtr node_;
};

}  // namespace

Reads::Reads(NodeTree& tree, ReadEngine& engine, OpenOrder& open_order, const KernelCache& kernel,
             Os& os)
    : tree_(tree),
      nodes_(tree.nodes()),
      namespace_(tree.namespace_lock()),
      engine_(engine),
      open_order_(open_order),
      kernel_(kernel),
      os_(os),
      history_(engine.stats, read_times_, History::Clock::now()) {}

XzReader::Source Reads::SourceOf(const NodePtr& node) {
  return {.identity = node->identity,
          .format = node->format,
          .plain_size = node->plain_size(),
          .file_id = node->file_id(),
          .stored = std::make_shared<const NodeFile>(tree_, engine_, os_, node),
          .name = [this, id = node->id] { return nodes_.PathOf(id); }};
}

std::unique_ptr<RandomAccessFile> Reads::ContentOf(const NodePtr& node, int flags) {
  if (node->kind != StoredKind::kCompressed) {
    return std::make_unique<NodeFile>(tree_, engine_, os_, node);
  }
  const bool direct = (flags & O_DIRECT) != 0;
  return std::make_unique<XzReader>(engine_, direct ? SourceOf(node) : BufferedSourceOf(node));
}

XzReader::Source Reads::BufferedSourceOf(const NodePtr& node) {
  XzReader::Source source = SourceOf(node);
  source.hands_over = true;
  if (kernel_.takes_offers()) {
    source.decoded = [this, node](uint64_t offset, const UnitPtr& unit) {
      OfferPages(*node, offset, unit);
    };
  }
  return source;
}

void Reads::DecodeNextFiles(const Node& opened) {
  const NodeId dir = nodes_.LocationOf(opened.id).parent;
  const OpenOrder::Next next = open_order_.Opened(dir, opened.id);
  if (next.was_named) {
    engine_.stats.files_ahead_useful.Add();
  }
  DecodeFilesAhead(next.files);
}

void Reads::DecodeFilesAhead(std::span<const OpenOrder::Place> files) {
  // Waking a thread costs about as much as decoding a file.
  constexpr size_t kFilesPerTask = 4;
  for (; kernel_.takes_offers() && !files.empty();
       files = files.subspan(std::min(kFilesPerTask, files.size()))) {
    const auto portion = files.first(std::min(kFilesPerTask, files.size()));
    engine_.pool.TrySubmit([this, places = std::vector(portion.begin(), portion.end())] {
      std::vector<DecodedRange> decoded;
      for (const OpenOrder::Place& place : places) {
        if (open_order_.IsAhead(place)) {
          DecodeFileAhead(place.file, decoded);
        }
      }
      kernel_.Offer(std::move(decoded));
    });
  }
}

// The unit stays in the cache until the kernel has it, so a read before that need not decode it.
void Reads::DecodeFileAhead(NodeId id, std::vector<DecodedRange>& decoded) {
  const NodePtr node = nodes_.Find(id);
  if (node == nullptr || tree_.opens().IsOpen(id)) {
    return;
  }
  XzReader::Source source = SourceOf(node);
  source.hands_over = true;
  source.decoded = [&](uint64_t offset, const UnitPtr& unit) {
    DecodedRange& range = decoded.emplace_back();
    range.node = node->id;
    range.offset = offset;
    range.bytes = unit->bytes();
    range.owner = unit;
    range.still_good = StillGood(*node);
    range.on_handed_over = OnHandedOver(*node, offset);
  };
  XzReader reader(engine_, std::move(source));
  reader.DecodeAhead();
  engine_.stats.files_ahead.Add();
}

// Offers the whole pages in `unit`, which begins at `offset`.
void Reads::OfferPages(const Node& node, uint64_t offset, const UnitPtr& unit) {
  const std::span<const std::byte> bytes = unit->bytes();
  const uint64_t begin = RoundUp(offset, kPageBytes);
  const uint64_t unit_end = offset + bytes.size();
  const uint64_t end =
      unit_end == node.plain_size() ? unit_end : unit_end / kPageBytes * kPageBytes;
  if (begin < end) {
    std::vector<DecodedRange> decoded;
    DecodedRange& range = decoded.emplace_back(DecodedRange{
        node.id, begin, bytes.subspan(begin - offset, end - begin), unit, StillGood(node)});
    if (range.bytes.size() == bytes.size()) {
      range.on_handed_over = OnHandedOver(node, offset);
    }
    kernel_.Offer(std::move(decoded));
  }
}

// A unit that the kernel has completely isn't kept twice.
std::function<void()> Reads::OnHandedOver(const Node& node, uint64_t offset) {
  return [this, key = UnitKey{node.file_id(), offset}] { engine_.cache.NoteHandedOver(key); };
}

// Returns a function: whether the node is the same as when the bytes were decoded, and no program
// is about to change it.
std::function<bool()> Reads::StillGood(const Node& node) {
  return [this, id = node.id, file_id = node.file_id()] {
    const NodePtr now = nodes_.Find(id);
    return now != nullptr && now->kind == StoredKind::kCompressed && now->file_id() == file_id &&
           (now->state == nullptr || !now->state->may_differ());
  };
}

Result<size_t> Reads::Read(const OpenFile& file, uint64_t offset, size_t size,
                           std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent) {
  const auto begin = History::Clock::now();
  auto got = TryRead(file, offset, size, buffer, lent);
  const auto end = History::Clock::now();
  read_times_.Add(static_cast<uint64_t>(std::chrono::nanoseconds(end - begin).count()));
  history_.Note(end);
  return got;
}

Result<size_t> Reads::TryRead(const OpenFile& file, uint64_t offset, size_t size,
                              std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent) {
  // A commit or a rename may replace or move the stored file between two system calls.
  constexpr int kTries = 4;
  for (int tries = 1;; ++tries) {
    XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree_.FindNode(file.id()));
    auto got = ReadNode(file, node, offset, size, buffer, lent);
    if (got || got.error().code != ESTALE || tries == kTries) {
      return got;
    }
    SharedLock names(namespace_);  // until the read has ended
  }
}

Result<size_t> Reads::ReadNode(const OpenFile& file, const NodePtr& node, uint64_t offset,
                               size_t size, std::vector<std::byte>& buffer,
                               std::vector<XzReader::Piece>& lent) {
  const OpenFile::Content content =
      file.ContentFor(node, [&] { return ContentOf(node, file.flags()); });
  std::shared_ptr<Overlay> overlay;
  DescriptorPtr plain;
  if (node->state != nullptr) {
    FileLock lock(*node->state);
    // The end of a commit removes the overlay and replaces the node, under this lock.
    if (nodes_.Find(node->id) != node) {
      return Fail(ESTALE, nodes_.PathOf(node->id) + " is changing");
    }
    overlay = node->state->overlay();
    plain = node->kind == StoredKind::kPlain ? node->state->plain().file : nullptr;
  }
  const auto* const reader = dynamic_cast<const XzReader*>(content.get());
  if (overlay == nullptr && plain == nullptr && reader != nullptr) {
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
  if (plain != nullptr) {
    return ReadStoredAt(os_, plain->descriptor.get(), offset, out,
                        [&] { return nodes_.PathOf(node->id); });
  }
  return content->ReadAt(offset, out);
}

void Reads::DropCaches(std::function<void()> done) {
  // Ours after the kernel's: the kernel may ask again at once for pages that it has dropped.
  const auto drop_ours = [this, done = std::move(done)] {
    engine_.cache.DropAll();
    engine_.small_files.DropAll();
    done();
  };
  std::vector<PageRange> all;
  for (const NodeId id : nodes_.FileIds()) {
    all.push_back({.node = id});
  }
  if (!kernel_.Drop(std::move(all), drop_ours)) {
    drop_ours();
  }
}

}  // namespace xzfs
