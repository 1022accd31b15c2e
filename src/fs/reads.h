// Reading the content of files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/history.h"
#include "base/read_times.h"
#include "cache/xz_reader.h"
#include "fs/answers.h"
#include "fs/node_tree.h"
#include "fs/open_order.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

class KernelCache;
class OpenFile;
class Os;
struct ReadEngine;

// Answers reads, and puts decoded bytes into the kernel's page cache ahead of reads. Thread-safe.
class Reads {
 public:
  Reads(NodeTree& tree, ReadEngine& engine, OpenOrder& open_order, const KernelCache& kernel,
        Os& os);

  // Reads up to `size` bytes. Decoded bytes are lent in `lent`. Other bytes are read into `buffer`,
  // which grows as needed; returns their number. REQUIRES: `lent` is empty.
  Result<size_t> Read(const OpenFile& file, uint64_t offset, size_t size,
                      std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent);

  // The stored bytes of a compressed file, and how they are read; the file need not be open.
  XzReader::Source SourceOf(const NodePtr& node);
  // A compressed file was opened: if small files are opened in the order of their listing, decodes
  // the next ones into the page cache.
  void DecodeNextFiles(const Node& opened);
  void DecodeFilesAhead(std::span<const OpenOrder::Place> files);
  // Drops all decoded bytes, here and in the kernel's page cache, then calls `done`.
  void DropCaches(std::function<void()> done);

  // The durations of reads, and their history.
  const ReadTimes& times() const { return read_times_; }
  History& history() { return history_; }

 private:
  Result<size_t> TryRead(const OpenFile& file, uint64_t offset, size_t size,
                         std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent);
  Result<size_t> ReadNode(const OpenFile& file, const NodePtr& node, uint64_t offset, size_t size,
                          std::vector<std::byte>& buffer, std::vector<XzReader::Piece>& lent);
  std::unique_ptr<RandomAccessFile> ContentOf(const NodePtr& node, int flags);
  XzReader::Source BufferedSourceOf(const NodePtr& node);
  void OfferPages(const Node& node, uint64_t offset, const UnitPtr& unit);
  std::function<void()> OnHandedOver(const Node& node, uint64_t offset);
  void DecodeFileAhead(NodeId id, std::vector<DecodedRange>& decoded);
  std::function<bool()> StillGood(const Node& node);

  NodeTree& tree_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
  ReadEngine& engine_;
  OpenOrder& open_order_;
  const KernelCache& kernel_;
  Os& os_;
  ReadTimes read_times_;
  History history_;
};

}  // namespace xzfs
