// What the kernel knows of a file of the mount.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/identity.h"
#include "store/known_files.h"
#include "store/source_dir.h"
#include "xzfs/block_index.h"
#include "xzfs/result.h"

namespace xzfs {

class FileState;

using NodeId = uint64_t;
inline constexpr NodeId kRootNode = 1;

// One file, as one inode of the mount. The name and the counts belong to the NodeTable; everything
// here is immutable but for what `state` points to: what changes makes a new Node with the same id
// (NodeTable::Update), so whoever holds one sees one state of the file.
//
// A plain file or a directory is one node as long as it has its inode number, and changes under us
// like on any pass-through file system. A compressed file is a node of one *version*: when the
// stored file's identity changes, the next lookup makes a new node with a page cache of its own,
// and the old one answers ESTALE (the kernel then looks the name up again) or, to who has it open,
// goes on giving old bytes while it can. So old and new never mix. Changes that we make ourselves
// (a commit, chmod, rename) keep the node.
struct Node {
  NodeId id = 0;
  StoredKind kind = StoredKind::kPlain;
  Format format = Format::kXz;

  // Of the stored file when the node was made. For kCompressed it names the version.
  Identity identity;
  struct stat attributes = {};
  // Of a directory: of the mount that it is seen through. A directory that is mounted in a second
  // place is a second one, as there are no links of directories.
  uint64_t mount_id = 0;

  // kCompressed, if its Index could be read.
  std::optional<KnownFile> known;
  // Why not, if it couldn't: EIO, or EFBIG if that takes more memory than the limit. Then opening
  // fails with it, and the size shown is the stored one: 0 must never pass for an empty file.
  std::optional<Error> damage;

  // The inode number that is shown. It stays when a commit replaces the stored file, and no other
  // node has it meanwhile.
  uint64_t shown_inode = 0;
  // A commit gives the stored file, and the directory it is in, a ctime of its own, which is
  // nobody's business: `tar` takes a file whose ctime moves for one that changes while it's read.
  // As long as it is as the commit left it, `shown` is shown.
  struct KeptCtime {
    Identity left;
    struct timespec shown = {};
  };
  std::optional<KeptCtime> kept_ctime;
  // Goes up when the node's stored bytes become other ones, so that a descriptor that was kept for
  // it is not taken for one of the new file.
  unsigned content = 0;
  // Null if it was never opened for writing.
  std::shared_ptr<FileState> state;
  // Of a directory: its name is gone, and who stands in it or has it open finds it empty.
  // `attributes` are its last ones.
  bool is_removed = false;

  // 0 and false where nothing is known.
  uint64_t plain_size() const { return known ? known->plain_size : 0; }
  uint64_t file_id() const { return known ? known->file_id : 0; }
  bool has_giant_blocks() const { return known && known->has_giant_blocks; }
  // What to show as the ctime of the stored file, which is `stored` now.
  struct timespec ShownCtime(const struct stat& stored) const {
    return kept_ctime && kept_ctime->left == Identity::Of(stored) ? kept_ctime->shown
                                                                  : stored.st_ctim;
  }
};
using NodePtr = std::shared_ptr<const Node>;

}  // namespace xzfs
