// How the parts are put together. A part has references to those that it uses, and is made after
// them. Calls in the other direction are functions that are set here: the Committer calls Commits
// to commit files, and PendingNotes when its queue is empty; Borders calls ZoneRecovery for a zone
// that is entered.
#include "fs/mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <span>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/try.h"
#include "base/units.h"
#include "fs/file_state.h"
#include "store/home.h"
#include "store/session.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// The most memory for KnownFiles: 16 MiB hold 300,000 files.
constexpr uint64_t kMostKnownFilesBytes = uint64_t{16} << 20;

size_t KnownFilesBytes(const Options& options) {
  return std::min(options.cache_size_bytes / 16, kMostKnownFilesBytes);
}

// Equal for equal content, see Identity::HasContentOf.
std::string VersionName(const Identity& identity) {
  return std::to_string(identity.inode) + "-" + std::to_string(identity.size_bytes) + "-" +
         std::to_string(identity.mtime_ns);
}

}  // namespace

Result<std::unique_ptr<Mount>> Mount::Create(UniqueFd source, const Options& options) {
  return Create(std::move(source), options, Os::Real());
}

Result<std::unique_ptr<Mount>> Mount::Create(UniqueFd source, const Options& options, Os& os) {
  Descriptor root(os, openat(source.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) {
    return FailErrno(errno, "open the source");
  }
  struct stat st = {};
  if (const int error = os.FStat(root.get(), &st); error < 0) {
    return FailErrno(-error, "stat the source");
  }
  return std::unique_ptr<Mount>(new Mount(std::move(root), st, options, os));
}

Mount::Mount(Descriptor source, const struct stat& root, const Options& mount_options, Os& mount_os)
    : os(mount_os),
      options(mount_options),
      shares(DescriptorShares::Of(DescriptorLimit(), options.threads + options.compress_threads)),
      rules(options, unshrinkable),
      engine({.budget_bytes = options.cache_size_bytes,
              .threads = options.threads,
              .whole_block_bytes = options.whole_block_limit_bytes,
              .verify = options.verify_stream ? Verify::kStream : Verify::kBlock,
              .restart_file_bytes = options.restart_file_size_bytes.value_or(0)}),
      tree(std::make_shared<SharedDescriptor>(std::move(source)), root, KnownFilesBytes(options),
           shares.cached, engine, open_order, os),
      known_charge(engine.budget.Reserve(tree.known().memory_bytes())),
      held(shares.held),
      limits(options.read_only, os),
      zones(options, tree, os),
      edited(tree),
      done_intents(os),
      half_done(tree, done_intents, os),
      versions(tree, engine, os),
      unfinished(tree, os),
      attributes(tree, zones, unfinished, limits, os),
      encoders(options.compress_threads, options.block_size_bytes),
      committer(
          options.compress_threads,
          std::chrono::nanoseconds(static_cast<int64_t>(options.settle_s * 1e9)),
          {.commit = [this](NodeId id, CommitFor whom) { return commits.CommitNode(id, whom); },
           .pin = [this](NodeId id) { return tree.nodes().Pin(id); },
           .unpin = [this](NodeId id) { tree.Forget(id, 1); },
           .on_idle = [this] { pending.DropIfIdle(); },
           .has_given_up =
               [this](NodeId id) {
                 const auto failure = failures.Find(id);
                 return failure && failure->is_given_up;
               }}),
      orphans(tree, edited, committer),
      borders(options, tree, zones, os),
      lookups(tree, borders, half_done, edited, orphans, versions, limits, engine.stats),
      pending(options, tree, zones, committer, done_intents),
      requests(options, rules, tree, pending, committer),
      report(tree, pending, requests, failures),
      syncs(options, tree, edited, engine.stats, os),
      reads(tree, engine, open_order, kernel, os),
      overlays(tree, zones, edited, reads, engine, shares.overlays / 2, os),
      plain_files(tree, pending, unfinished, listings, os),
      writes({options, tree, zones, pending, edited, unfinished, attributes, requests, committer,
              plain_files, overlays, held, os}),
      cold(options, rules, tree, zones, lookups, unfinished, committer, os),
      handles(tree, edited, reads, writes, cold, engine),
      places(tree, zones, borders, limits, os),
      new_names(tree, places, lookups, handles, unfinished, held, os),
      removals(tree, places, zones, edited, unfinished, pending, report, requests, held, os),
      renames({tree, zones, places, removals, unfinished, syncs, pending, edited, orphans,
               half_done, done_intents, committer, rules, failures, requests, os}),
      directories(
          {options, tree, borders, half_done, lookups, reads, engine, open_order, listings, os}),
      control(tree),
      live(options, rules, engine, encoders, committer),
      recovery({tree, zones, edited, orphans, overlays, pending, requests, lookups, os}),
      commits({options, rules,  live,       engine,   encoders, tree,         zones,     borders,
               lookups, edited, unfinished, pending,  listings, done_intents, reads,     overlays,
               syncs,   writes, cold,       recovery, requests, report,       committer, os}) {
  borders.SetRecover([this](const ZonePtr& zone, const DescriptorPtr& top) {
    return recovery.RecoverZone(zone, top);
  });
  engine.damage.OnWrongBytes([this] { reads.DropCaches([] {}); });
}

// The threads end first, because they use all parts.
Mount::~Mount() {
  cold.Stop();
  recovery.EndSearches();
  committer.End(Committer::Ending::kAtOnce);
  engine.pool.Stop();
}

void Mount::Start() {
  if (options.read_only) {
    const size_t count = Session::CountOverlays(os, tree.root()->descriptor.get());
    if (count != 0) {
      Log(LogLevel::kWarning,
          Counted(count, "file") + (count == 1 ? " has" : " have") +
              " changes that are not committed and not shown on a read-only mount: mount without "
              "ro to complete what earlier mounts left");
    }
  } else {
    const auto home = LookAtHome(os, tree.root()->descriptor.get(), HomeTop::kSourceRoot);
    if (home && home->kind == HomeKind::kCopy) {
      borders.ReportCopy(kRootNode);
    } else {
      static_cast<void>(recovery.RecoverZone(tree.tops().ZoneAt(kRootNode), tree.root()));
    }
  }
  engine.Start();
  encoders.Start();
  committer.Start();
  cold.Start();
}

size_t Mount::open_descriptors() {
  return tree.files().size() + tree.directories().size() + 2 * overlays.open_count() + held.used();
}

Result<FileFigures> Mount::Describe(NodeId id) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree.FindNode(id));
  XZFS_ASSIGN_OR_RETURN(const struct stat st, tree.StatNode(node));
  FileFigures figures;
  figures.stored_name = tree.nodes().LocationOf(id).stored_name;
  figures.kind = node->kind;
  figures.format = node->format;
  figures.stored_size = static_cast<uint64_t>(st.st_size);
  figures.allocated_bytes = static_cast<uint64_t>(st.st_blocks) * 512;
  figures.plain_size = figures.stored_size;
  if (node->state != nullptr) {
    FileLock lock(*node->state);
    figures.edited = node->state->overlay() != nullptr;
  }
  const auto failure = failures.Find(id);
  if (node->kind == StoredKind::kPlain && options.compress != Compress::kOff) {
    figures.stays_plain =
        failure ? std::optional(failure->message) : rules.WhyPlain(tree.nodes().FullPathOf(id), st);
  }
  if (node->kind != StoredKind::kCompressed) {
    return figures;
  }
  figures.stored_version = VersionName(node->identity);
  if (node->damage) {
    (node->damage->kind == ErrorKind::kUnsupported ? figures.unsupported : figures.damage) =
        node->damage->message;
    figures.has_index = false;
    return figures;
  }
  const XzReader::Source source = reads.SourceOf(node);
  XZFS_ASSIGN_OR_RETURN(const auto file,
                        engine.indexes.Get(source.identity, source.format, source.file_id,
                                           *source.stored, source.name));
  const BlockIndex& index = file->index();
  figures.plain_size = index.plain_size();
  figures.stream_count = index.stream_count();
  figures.block_count = index.block_count();
  figures.largest_block = index.largest_block();
  for (const Check check : index.Checks()) {
    figures.checks.push_back(CheckName(check));
  }
  if (index.block_count() != 0) {
    auto filters = DescribeFilters(*source.stored, index, index.Block(0));
    if (filters) {
      figures.filters = *filters;
    } else if (filters.error().kind == ErrorKind::kUnsupported) {
      figures.unsupported = filters.error().message;
    } else {
      figures.filters = "damaged: " + filters.error().message;
    }
  }
  return figures;
}

Result<std::string> Mount::ReadStored(NodeId id, const std::string& version, uint64_t offset,
                                      uint64_t length) {
  XZFS_ASSIGN_OR_RETURN(const NodePtr node, tree.FindNode(id));
  if (node->kind != StoredKind::kCompressed) {
    return Fail(ENODATA, "the file is not compressed");
  }
  if (version != VersionName(node->identity)) {
    return Fail(ESTALE, "the stored file is another one by now");
  }
  const auto stored = reads.SourceOf(node).stored;
  const uint64_t left = offset < stored->size() ? stored->size() - offset : 0;
  std::string bytes(std::min(length, left), '\0');
  if (!bytes.empty()) {
    XZFS_RETURN_IF_ERROR(ReadFully(*stored, offset, std::as_writable_bytes(std::span(bytes))));
  }
  return bytes;
}

}  // namespace xzfs
