// Committing files, and ending the commits.
#pragma once

#include <sys/stat.h>

#include "fs/commit_report.h"
#include "fs/committer.h"
#include "xzfs/result.h"

namespace xzfs {

class Borders;
class ColdFiles;
class CommitRequests;
class DoneIntents;
class EditedFiles;
class EncodePool;
class ListingTable;
class LiveOptions;
class Lookups;
class NodeTree;
class Overlays;
class PendingNotes;
class PlainRules;
class Reads;
class Syncs;
class UnfinishedCommits;
class Writes;
class ZoneRecovery;
class ZoneTable;

// What a commit works with.
struct CommitParts {
  const Options& options;
  PlainRules& rules;
  LiveOptions& live;
  ReadEngine& engine;
  EncodePool& encoders;
  NodeTree& tree;
  ZoneTable& zones;
  Borders& borders;
  Lookups& lookups;
  EditedFiles& edited;
  UnfinishedCommits& unfinished;
  PendingNotes& pending;
  ListingTable& listings;
  DoneIntents& done_intents;
  Reads& reads;
  Overlays& overlays;
  Syncs& syncs;
  Writes& writes;
  ColdFiles& cold;
  ZoneRecovery& recovery;
  CommitRequests& requests;
  CommitReport& report;
  Committer& committer;
  Os& os;
};

// Thread-safe.
class Commits {
 public:
  explicit Commits(const CommitParts& parts) : parts_(parts), nodes_(parts.tree.nodes()) {}

  // For the queue: makes one attempt, and a second one if the first met an unknown border (EXDEV).
  Result<Committer::Outcome> CommitNode(NodeId id, CommitFor whom);

  // Commits all pending files without waiting for them to settle, then calls `done`. Fails if files
  // are left that should have been committed: the message has their number, the first one's path,
  // and the reason.
  void SyncCommits(Committer::Done done);
  // The same, but blocks until the end. Not for request threads.
  Status SyncCommits();
  // Ends the commits. Files that are not committed are parked for the next mount. REQUIRES: there
  // are no more requests.
  void EndCommits(Committer::Ending ending);
  // Makes EndCommits stop at once while another thread runs it.
  void ParkCommits();

 private:
  void NoteCommitError(NodeId id, Error& error, NextTry next);
  void EndSessions(Zone& zone, bool idle);

  const CommitParts parts_;
  NodeTable& nodes_;
};

}  // namespace xzfs
