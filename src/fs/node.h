// A file of the mount as the kernel knows it.
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

// One file, as one inode of the mount. NodeTable has its name and its lookup count. Everything here
// is immutable, except what `state` points to. A change makes a new Node with the same id
// (NodeTable::Update), so the holder of a NodePtr sees one version of the file's attributes.
//
// A plain file or a directory is one node as long as it has its inode number; other programs may
// change it, as on any pass-through file system. A compressed file is a node of one *version*: when
// the stored file's identity changes, the next lookup makes a new node with a page cache of its
// own. The old node then answers ESTALE, and the kernel looks the name up again. Programs that have
// it open get old bytes as long as we can read them. So old and new bytes never mix. Our own
// changes (a commit, chmod, rename) keep the node.
struct Node {
  NodeId id = 0;
  StoredKind kind = StoredKind::kPlain;
  Format format = Format::kXz;

  // The stored file's, when the node was made. For kCompressed it is the version.
  Identity identity;
  struct stat attributes = {};
  // Of a directory: the mount through which it is reached. A directory that is bind-mounted in a
  // second place is a second node, since directories have no hard links.
  uint64_t mount_id = 0;

  // kCompressed, if its Index could be read.
  std::optional<KnownFile> known;
  // Why the Index could not be read: EIO, or EFBIG if it needs more memory than the limit. Opening
  // fails with this error. The mount shows the stored size, since 0 would look like an empty file.
  std::optional<Error> damage;

  // The inode number in the mount. It stays when a commit replaces the stored file; no other node
  // has it as long as this one lives.
  uint64_t shown_inode = 0;
  // A commit changes the ctime of the stored file and of its directory. The mount must not show
  // that: `tar` reports a file whose ctime moves as changed while it was read. The mount shows
  // `shown` as long as the stored file is as the commit left it.
  struct KeptCtime {
    Identity left;
    struct timespec shown = {};
  };
  std::optional<KeptCtime> kept_ctime;
  // Raised when the node gets other stored bytes, so that a kept descriptor of the old file is not
  // used for the new one.
  unsigned content = 0;
  // Null if it was never opened for writing.
  std::shared_ptr<FileState> state;
  // Of a directory: it was removed. A process that has it open, or as its working directory, finds
  // it empty. `attributes` are its last ones.
  bool is_removed = false;

  // 0 and false if `known` is not set.
  uint64_t plain_size() const { return known ? known->plain_size : 0; }
  uint64_t file_id() const { return known ? known->file_id : 0; }
  bool has_giant_blocks() const { return known && known->has_giant_blocks; }
  // The ctime to show, if `stored` are the stored file's attributes now.
  struct timespec ShownCtime(const struct stat& stored) const {
    return kept_ctime && kept_ctime->left == Identity::Of(stored) ? kept_ctime->shown
                                                                  : stored.st_ctim;
  }
};
using NodePtr = std::shared_ptr<const Node>;

}  // namespace xzfs
