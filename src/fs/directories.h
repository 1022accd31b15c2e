// Listing directories.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "fs/answers.h"
#include "fs/reads.h"
#include "store/directory_reader.h"
#include "xzfs/result.h"

namespace xzfs {

class Borders;
class HalfDoneOperations;
class Listing;
class ListingTable;
class Lookups;
class NodeTree;
class OpenOrder;
struct Options;
class Os;
struct ReadEngine;

// What listings work with.
struct DirectoryParts {
  const Options& options;
  NodeTree& tree;
  Borders& borders;
  HalfDoneOperations& half_done;
  Lookups& lookups;
  Reads& reads;
  ReadEngine& engine;
  OpenOrder& open_order;
  ListingTable& listings;
  Os& os;
};

enum class ListingKind { kNames, kWithLookups };

// Thread-safe.
class Directories {
 public:
  explicit Directories(const DirectoryParts& parts)
      : parts_(parts), names_(parts.tree.names()), namespace_(parts.tree.namespace_lock()) {}

  // Null on a read-only mount, where no file moves.
  std::shared_ptr<Listing> OpenListing(NodeId dir);
  // Calls `add` for each line from `offset` on (0 is the start) until it returns false, which means
  // that the caller did not take that line. kWithLookups asks for DirectoryLine::lookup.
  // `bytes_hint`: about how many bytes the caller will take. A line's next_offset is the source's
  // own. Only `listing`, which may be null, keeps anything between two calls.
  Status ReadDirectory(NodeId node, Listing* listing, uint64_t offset, ListingKind kind,
                       size_t bytes_hint, const std::function<bool(const DirectoryLine&)>& add);

 private:
  struct Reply;
  Result<bool> AddLines(const NodePtr& dir, const DescriptorPtr& descriptor,
                        const std::vector<RawLine>& lines, Reply& reply);
  bool AddLine(const DirectoryLine& line, Reply& reply);
  Status AddMissed(const NodePtr& dir, const DescriptorPtr& descriptor, uint64_t offset,
                   Reply& reply);
  Result<std::optional<DirectoryLine>> MakeLine(const NodePtr& dir, const DescriptorPtr& descriptor,
                                                const RawLine& raw, ListingKind kind);

  const DirectoryParts parts_;
  SourceDir& names_;
  SharedMutex& namespace_;
};

}  // namespace xzfs
