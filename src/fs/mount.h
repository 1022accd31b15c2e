// A mount, free of FUSE.
#pragma once

#include <cstddef>
#include <memory>

#include "base/os.h"
#include "base/unique_fd.h"
#include "fs/attributes.h"
#include "fs/borders.h"
#include "fs/cold_files.h"
#include "fs/commit_failures.h"
#include "fs/commit_report.h"
#include "fs/commit_requests.h"
#include "fs/commits.h"
#include "fs/committer.h"
#include "fs/control_attributes.h"
#include "fs/descriptor_shares.h"
#include "fs/directories.h"
#include "fs/done_intents.h"
#include "fs/edited_files.h"
#include "fs/file_figures.h"
#include "fs/half_done.h"
#include "fs/handles.h"
#include "fs/kernel_cache.h"
#include "fs/listing.h"
#include "fs/live_options.h"
#include "fs/lookups.h"
#include "fs/name_limits.h"
#include "fs/new_names.h"
#include "fs/node_tree.h"
#include "fs/open_order.h"
#include "fs/options.h"
#include "fs/orphans.h"
#include "fs/overlays.h"
#include "fs/pending_notes.h"
#include "fs/places.h"
#include "fs/plain_files.h"
#include "fs/plain_rules.h"
#include "fs/reads.h"
#include "fs/removals.h"
#include "fs/renames.h"
#include "fs/syncs.h"
#include "fs/unfinished_commits.h"
#include "fs/version_reader.h"
#include "fs/writes.h"
#include "fs/zone_recovery.h"
#include "fs/zone_table.h"
#include "store/encode_pool.h"
#include "xzfs/result.h"

namespace xzfs {

// The parts of a mount, each after those that it uses. (The exceptions are functions that the
// constructor sets: Borders calls ZoneRecovery for zones that it finds; the Committer calls Commits
// to commit files, and PendingNotes when nothing is pending.) A request goes to the part that
// answers it. Node ids are those of the kernel; error codes are those that the system call returns.
// Operations block on I/O and decoding.
//
// All parts are thread-safe after Start; their Set functions are called before it.
struct Mount {
  // `source` is the source's directory (O_PATH suffices); the mount reaches the source only through
  // it. `options` have their defaults resolved.
  static Result<std::unique_ptr<Mount>> Create(UniqueFd source, const Options& options);
  // For tests: `os` replaces the system calls, and outlives the mount.
  static Result<std::unique_ptr<Mount>> Create(UniqueFd source, const Options& options, Os& os);
  ~Mount();
  Mount(const Mount&) = delete;
  Mount& operator=(const Mount&) = delete;

  // Takes over what earlier mounts left unfinished, and starts the threads. REQUIRES: there was no
  // request yet.
  void Start();

  // What `user.xzfs.info` reports of a file.
  Result<FileFigures> Describe(NodeId node);
  // The bytes [offset, offset + length) of a compressed file as it is stored, without its pending
  // changes; fewer at its end. `version`: as Describe named it. Errors: ESTALE if the file has
  // another version by now, ENODATA if it isn't compressed, what reading says. Blocks.
  Result<std::string> ReadStored(NodeId node, const std::string& version, uint64_t offset,
                                 uint64_t length);
  // How many descriptors are kept open: now, and at most.
  size_t open_descriptors();
  size_t descriptor_limit() const { return shares.cached + shares.overlays + shares.held; }

  Os& os;
  // The options at the start of the mount; LiveOptions has the present ones.
  const Options options;
  const DescriptorShares shares;
  UnshrinkableFiles unshrinkable;
  PlainRules rules;
  KernelCache kernel;

  // Names and nodes.
  OpenOrder open_order;
  ListingTable listings;
  ReadEngine engine;
  NodeTree tree;
  const MemoryCharge known_charge;
  DescriptorQuota held;
  NameLimits limits;
  ZoneTable zones;
  EditedFiles edited;
  DoneIntents done_intents;
  HalfDoneOperations half_done;
  VersionReader versions;
  UnfinishedCommits unfinished;
  Attributes attributes;
  // The queue of commits.
  EncodePool encoders;
  CommitFailures failures;
  Committer committer;
  Orphans orphans;
  Borders borders;
  Lookups lookups;
  PendingNotes pending;
  CommitRequests requests;
  CommitReport report;
  // Content.
  Syncs syncs;
  Reads reads;
  Overlays overlays;
  PlainFiles plain_files;
  Writes writes;
  ColdFiles cold;
  Handles handles;
  // Changes of names, and listings.
  Places places;
  NewNames new_names;
  Removals removals;
  Renames renames;
  Directories directories;
  // Work beside requests.
  ControlAttributes control;
  LiveOptions live;
  ZoneRecovery recovery;
  Commits commits;

 private:
  Mount(Descriptor source, const struct stat& root, const Options& mount_options, Os& mount_os);
};

}  // namespace xzfs
