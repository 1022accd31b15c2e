#include "fs/version_reader.h"

#include <cerrno>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "cache/read_engine.h"

namespace xzfs {
VersionReader::VersionReader(NodeTree& tree, ReadEngine& engine, Os& os)
    : nodes_(tree.nodes()), known_(tree.known()), engine_(engine), os_(os) {}

Status VersionReader::LookInto(NodeId parent, StoredEntry& entry, Node& node) {
  if (entry.known) {
    node.known = entry.known;
    return {};
  }
  auto found = ReadIndex(parent, entry);
  // Checked after the reads, so that the facts were read of this version. A file that is being
  // written is no version yet.
  const bool settled = IsUnchanged(os_, entry.file.get(), entry.attributes);
  if (found) {
    if (settled) {
      *found = known_.Add(node.identity, entry.suffix, *found);
      if (entry.head.size() == node.identity.size_bytes) {
        engine_.small_files.Add(node.identity, std::move(entry.head));
      }
    }
    node.known = *found;
    return {};
  }
  Error& error = found.error();
  if (!IsOfContent(error)) {
    return Failure(std::move(error));
  }
  // A file that is being written looks damaged until it is complete: so a recent one is not
  // reported.
  const std::string key =
      std::to_string(node.identity.device) + ":" + std::to_string(node.identity.inode);
  const std::string what = nodes_.PathIn(parent, entry.stored_name) + ": " + error.message;
  std::string line = "damaged: " + what + "; opening it fails with EIO until it is replaced";
  if (error.kind == ErrorKind::kOverLimit) {
    line = "refused: " + what + "; opening it fails with EFBIG; memory limits grow with cache_size";
  } else if (error.kind == ErrorKind::kUnsupported) {
    line = "unsupported: " + what + "; opening it fails with EIO";
  }
  if (settled && damaged_files_.Report(LogLevel::kError, key, line) &&
      error.kind != ErrorKind::kUnsupported) {
    engine_.stats.damaged_files.Add();
  }
  node.damage = std::move(error);
  return {};
}

Result<KnownFile> VersionReader::ReadIndex(NodeId parent, const StoredEntry& entry) {
  const ProbedFile stored(os_, entry);
  const auto known_of = [&](const BlockIndex& index, uint64_t file_id) -> KnownFile {
    return {.format = entry.format,
            .plain_size = index.plain_size(),
            .file_id = file_id,
            .has_giant_blocks = index.largest_block() > engine_.whole_block_bytes};
  };
  if (entry.format == Format::kXz && entry.head.size() == stored.size()) {
    // The whole file is in memory already, so it does not matter whether other threads read the
    // same.
    XZFS_ASSIGN_OR_RETURN(const BlockIndex index, BlockIndex::Read(stored, entry.format, {}));
    return known_of(index, engine_.indexes.NewId());
  }
  const auto path = [&] { return nodes_.PathIn(parent, entry.stored_name); };
  XZFS_ASSIGN_OR_RETURN(const auto file, engine_.indexes.Look(Identity::Of(entry.attributes),
                                                              entry.format, stored, path));
  return known_of(file->index(), file->id());
}

}  // namespace xzfs
