// compress=cold: unused files.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "fs/cold_search.h"
#include "fs/zone_table.h"
#include "xzfs/result.h"

namespace xzfs {

class Committer;
class Lookups;
class NodeTree;
struct Options;
class Os;
class PlainRules;
class UnfinishedCommits;

// Connects the search for cold files with the mount. Without compress=cold, and on a read-only
// mount, there is no search. Thread-safe.
class ColdFiles {
 public:
  ColdFiles(const Options& options, const PlainRules& rules, NodeTree& tree, ZoneTable& zones,
            Lookups& lookups, UnfinishedCommits& unfinished, Committer& committer, Os& os);

  bool is_on() const { return search_ != nullptr; }
  void Start();
  // Ends the search.
  void Stop();
  std::optional<ColdSearch::Figures> figures();

  // Whether the file's times allow its compression. True if there is no search.
  bool MayCommit(const struct stat& st);
  // A program opens a plain file to read it. This sets the file's atime: we read with O_NOATIME,
  // and a source may be mounted with noatime. It also cancels a commit of the file that the search
  // has begun.
  void NoteUse(const Node& node, int dir, const std::string& name, const struct stat& st);

 private:
  void MakeSearch();
  Status Commit(const std::string& path, const struct stat& st);
  void Cancel();

  const Options& options_;
  const PlainRules& rules_;
  NodeTree& tree_;
  NodeTable& nodes_;
  ZoneTable& zones_;
  Lookups& lookups_;
  UnfinishedCommits& unfinished_;
  Committer& committer_;
  Os& os_;
  // The file whose commit the search waits for; 0: none.
  std::atomic<NodeId> cold_node_{0};
  // Last, because its thread uses all members above.
  std::unique_ptr<ColdSearch> search_;
};

}  // namespace xzfs
