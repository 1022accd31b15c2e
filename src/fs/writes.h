// Changing the content of files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/os.h"
#include "fs/answers.h"
#include "fs/attributes.h"
#include "fs/commit_requests.h"
#include "fs/descriptor_shares.h"
#include "fs/edited_files.h"
#include "fs/node_tree.h"
#include "fs/open_file.h"
#include "fs/options.h"
#include "fs/overlays.h"
#include "fs/pending_notes.h"
#include "fs/plain_files.h"
#include "fs/unfinished_commits.h"
#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

// What Writes works with.
struct WriteParts {
  const Options& options;
  NodeTree& tree;
  ZoneTable& zones;
  PendingNotes& pending;
  EditedFiles& edited;
  UnfinishedCommits& unfinished;
  Attributes& attributes;
  CommitRequests& requests;
  Committer& committer;
  PlainFiles& plain_files;
  Overlays& overlays;
  DescriptorQuota& held;
  Os& os;
};

// Thread-safe. BeginWriting, Resize and SetAttributes fail with EWOULDBLOCK while another mount is
// at the last steps of a commit of the file: the caller tries again later. All changes fail with
// EROFS on a read-only mount.
class Writes {
 public:
  explicit Writes(const WriteParts& parts)
      : parts_(parts), nodes_(parts.tree.nodes()), namespace_(parts.tree.namespace_lock()) {}

  // Counts a writer, which EndWriting takes back. From now on no commit touches the file, and no
  // further bytes of it are stored into the kernel's page cache. A store that is running may hold
  // older bytes, so FuseOperations does not reply before that has ended. `new_file`: the plain
  // file, if it was made just now.
  Result<NodePtr> BeginWriting(NodeId id, int flags, DescriptorPtr new_file = nullptr)
      EXCLUDES(namespace_);
  // `file`: the handle that is released; null if the writer was counted without one.
  void EndWriting(const NodePtr& node, const OpenFile* file = nullptr);
  // There are no more requests: treats all handles as closed, and removed files as unused. When a
  // mount ends the kernel drops RELEASE and FORGET requests that it had still to send.
  void EndHandles();

  // Writes all of `bytes`, or returns how many were written before the error. REQUIRES: the file
  // was opened for writing.
  Result<size_t> Write(const OpenFile& file, uint64_t offset, std::span<const std::byte> bytes);
  // The same at the real end of the file, even if other programs append to it. `expected`: where
  // the kernel expects the end. REQUIRES: the handle appends.
  Result<Appended> Append(const OpenFile& file, uint64_t expected,
                          std::span<const std::byte> bytes);
  // REQUIRES: a writer is counted.
  Status Resize(NodeId id, uint64_t size, const OpenFile* file = nullptr);
  // As fallocate(2).
  Status Allocate(const OpenFile& file, int mode, uint64_t offset, uint64_t length);
  // As lseek(2) with SEEK_DATA and SEEK_HOLE.
  Result<uint64_t> Seek(const OpenFile& file, uint64_t offset, int whence);
  // A descriptor of the handle is about to be closed. Returns true if sync_close is set and this is
  // the last handle that may write: then close must wait until CommitRequests::CommitNow reports
  // the commit.
  Result<bool> Flush(const OpenFile& file);

  // `file`: the handle of the request; may be null.
  Result<struct stat> SetAttributes(NodeId node, const AttributeChange& change,
                                    const OpenFile* file);

 private:
  // The target of a change of a file.
  struct Writable {
    NodePtr node;
    DescriptorPtr plain;               // of a plain file, or
    std::shared_ptr<Overlay> overlay;  // of a compressed one
    int keeps_name;                    // FileState::Plain::keeps_name
    FileChange counted;
  };

  Status HoldDescriptors(const NodePtr& node, FileState& state) REQUIRES(state.mutex);
  Result<Writable> PrepareChange(NodeId id, const OpenFile* file = nullptr,
                                 WritePlace place = WritePlace::kAnywhere,
                                 uint64_t written_bytes = 0);
  Status ChangeStored(const NodePtr& node, const AttributeChange& change);
  Status KeepPlainLook(const Writable& to, const std::function<void(FileHead&)>& change);

  const WriteParts parts_;
  NodeTable& nodes_;
  SharedMutex& namespace_;
};

}  // namespace xzfs
