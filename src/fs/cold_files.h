// compress=cold: files that nobody uses.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/os.h"
#include "fs/cold_search.h"
#include "fs/committer.h"
#include "fs/lookups.h"
#include "fs/node_tree.h"
#include "fs/options.h"
#include "fs/unfinished_commits.h"
#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

// What the search for cold files asks of the mount, and is told by it. Without compress=cold, and
// on a mount that is read-only, there is no search. Thread-safe.
class ColdFiles {
 public:
  ColdFiles(const Options& options, NodeTree& tree, ZoneTable& zones, Lookups& lookups,
            UnfinishedCommits& unfinished, Committer& committer, Os& os);

  bool is_on() const { return search_ != nullptr; }
  void Start();
  // Ends the search.
  void Stop();
  std::optional<ColdSearch::Figures> figures();

  // By its times the file may be compressed. True if there is no search.
  bool MayCommit(const struct stat& st);
  // It was compressed, and did not become smaller. REQUIRES: is_on.
  void NoteUnshrinkable(const struct stat& st);
  // Somebody opens a plain file to read it. We read with O_NOATIME, and where the source is mounted
  // with noatime nothing else would tell. What is being compressed isn't cold any more.
  void NoteUse(const Node& node, int dir, const std::string& name, const struct stat& st);

 private:
  void MakeSearch();
  Status Commit(const std::string& path, const struct stat& st);
  void Cancel();

  const Options& options_;
  NodeTree& tree_;
  NodeTable& nodes_;
  ZoneTable& zones_;
  Lookups& lookups_;
  UnfinishedCommits& unfinished_;
  Committer& committer_;
  Os& os_;
  // What the search waits for; 0: nothing.
  std::atomic<NodeId> cold_node_{0};
  // Last: its thread uses all of the above.
  std::unique_ptr<ColdSearch> search_;
};

}  // namespace xzfs
