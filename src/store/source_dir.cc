// The rules are in docs/format.md, "Names". Probe finds the logical name that a stored name wants,
// by its suffix, its type and its content. Place decides whether it gets that name: WinnerOver
// looks for a more important stored name (RivalsFor) that has it. For that it must know how the
// rival is shown, so Place and WinnerOver call each other. LookAtPair asks the TwinRecords whether
// the loser is the twin of the winner.
//
// Whether a file's content is what its suffix says is a property of its version: it is found out
// once and remembered in KnownFiles, so that a later look at the name only costs stats.
//
// Only what a stat calls a regular file is opened: opening a FIFO wakes the process that waits at
// its other end, and opening a device may do anything.
#include "store/source_dir.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "base/quoted.h"
#include "base/try.h"
#include "cache/small_files.h"
#include "store/names.h"
#include "xz/format.h"

namespace xzfs {
namespace {

// How much is read of a file that is not small: one page, so that its Stream Header is in memory
// when its Index is read.
constexpr uint64_t kHeadBytes = 4096;

StoredKind KindOf(const struct stat& st) {
  switch (st.st_mode & S_IFMT) {
    case S_IFDIR:
      return StoredKind::kDirectory;
    case S_IFREG:
      return StoredKind::kPlain;
    case S_IFLNK:
      return StoredKind::kSymlink;
    default:
      return StoredKind::kSpecial;
  }
}

void MakeCompressed(StoredEntry& entry, Format format, const StrippedName& stripped) {
  entry.kind = StoredKind::kCompressed;
  entry.format = format;
  entry.logical_name = stripped.logical;
}

// The stored names other than `logical` itself that may be shown as it, most important first.
std::vector<std::string> RivalsFor(const std::string& logical) {
  std::vector<std::string> names = CompressedNamesOf(logical);
  if (std::string plain = PlainNameOf(logical); plain != logical && plain.size() <= NAME_MAX) {
    names.insert(names.begin(), std::move(plain));
  }
  return names;
}

bool HasSameMtime(const struct stat& a, const struct stat& b) {
  return a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

void CloseFile(StoredEntry& entry) {
  entry.file = Descriptor();
  entry.head.clear();
}

}  // namespace

std::optional<Format> FormatBySuffix(Suffix suffix, std::span<const std::byte> head) {
  switch (suffix) {
    case Suffix::kXz:
    case Suffix::kTxz:
      return HasXzMagic(head) ? std::optional(Format::kXz) : std::nullopt;
    case Suffix::kLz:
      return HasLzipMagic(head) ? std::optional(Format::kLzip) : std::nullopt;
    case Suffix::kTlz:
      if (HasLzipMagic(head)) {
        return Format::kLzip;
      }
      [[fallthrough]];
    case Suffix::kLzma:
      return LooksLikeLzmaAlone(head) ? std::optional(Format::kLzmaAlone) : std::nullopt;
  }
  return std::nullopt;
}

Result<size_t> ProbedFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size()) {
    return size_t{0};
  }
  const size_t want = std::min<uint64_t>(out.size(), size() - offset);
  if (offset + want <= entry_.head.size()) {
    std::memcpy(out.data(), entry_.head.data() + offset, want);
    return want;
  }
  const ssize_t got = os_.ReadAll(entry_.file.get(), out.first(want), offset);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read " + Quoted(entry_.stored_name));
  }
  return static_cast<size_t>(got);
}

bool IsUnchanged(Os& os, int fd, const struct stat& st) {
  struct stat now = {};
  return os.FStat(fd, &now) == 0 && Identity::Of(now) == Identity::Of(st);
}

Result<StoredEntry> SourceDir::Lookup(int dir, const std::string& logical) const {
  // A name may move from one stored file to another between two looks (unxz makes `N` and then
  // removes `N.xz`). So it looks a second time before it says that the name is missing.
  for (int tries = 0; tries < 2; ++tries) {
    XZFS_ASSIGN_OR_RETURN(std::optional<StoredEntry> entry, Find(dir, logical));
    if (entry) {
      return std::move(*entry);
    }
    struct stat st = {};
    if (tries == 0 && os_.StatAt(dir, logical, &st) != 0) {
      break;
    }
  }
  return Fail(ENOENT, Quoted(logical) + ": no such file");
}

Result<std::optional<StoredEntry>> SourceDir::Find(int dir, const std::string& logical) const {
  XZFS_ASSIGN_OR_RETURN(std::optional<StoredEntry> exact, Probe(dir, logical));
  if (exact) {
    XZFS_ASSIGN_OR_RETURN(exact, Place(dir, std::move(*exact)));
    if (exact && exact->logical_name == logical) {
      return exact;
    }
  }
  for (const std::string& stored : RivalsFor(logical)) {
    XZFS_ASSIGN_OR_RETURN(std::optional<StoredEntry> entry, Probe(dir, stored));
    // The first one that wants the name gets it: whatever is more important has just been tried.
    if (entry && entry->logical_name == logical) {
      return entry;
    }
  }
  return std::nullopt;
}

Result<std::optional<StoredEntry>> SourceDir::Show(int dir, const std::string& stored) const {
  XZFS_ASSIGN_OR_RETURN(std::optional<StoredEntry> entry, Probe(dir, stored));
  if (!entry) {
    return std::nullopt;
  }
  return Place(dir, std::move(*entry));
}

// The file that is stored as `stored`, with the logical name that it wants.
Result<std::optional<StoredEntry>> SourceDir::Probe(int dir, const std::string& stored) const {
  StoredEntry entry;
  entry.stored_name = stored;
  entry.logical_name = stored;
  const int error = os_.StatAt(dir, stored, &entry.attributes);
  if (error == -ENOENT) {
    return std::nullopt;
  }
  if (error < 0) {
    return FailErrno(-error, "stat " + Quoted(stored));
  }
  if (overwritten_ != nullptr) {
    overwritten_->Show(entry.attributes);
  }
  entry.kind = KindOf(entry.attributes);
  if (entry.kind == StoredKind::kDirectory) {
    FileFacts facts;
    if (os_.FactsAt(dir, stored, &facts) == 0) {
      entry.mount_id = facts.mount_id;
    }
  }
  if (auto unescaped = StripEscape(stored)) {
    entry.logical_name = std::move(*unescaped);
    return entry;
  }
  if (entry.kind != StoredKind::kPlain && entry.kind != StoredKind::kSymlink) {
    return entry;
  }
  auto stripped = StripSuffix(stored);
  if (!stripped) {
    return entry;
  }
  if (entry.kind == StoredKind::kPlain) {
    return ProbeContent(dir, std::move(entry), *stripped);
  }
  if (stripped->suffix == Suffix::kXz) {
    return ProbeLink(dir, std::move(entry), std::move(stripped->logical));
  }
  return entry;
}

Result<std::optional<StoredEntry>> SourceDir::ProbeLink(int dir, StoredEntry entry,
                                                        std::string logical) const {
  char target[PATH_MAX];
  const ssize_t length = os_.ReadLinkAt(dir, entry.stored_name, target);
  if (length == -ENOENT) {
    return std::nullopt;
  }
  if (length < 0) {
    return FailErrno(static_cast<int>(-length), "readlink " + Quoted(entry.stored_name));
  }
  if (StripLinkTarget({target, static_cast<size_t>(length)})) {
    entry.kind = StoredKind::kStrippedLink;
    entry.logical_name = std::move(logical);
  }
  return entry;
}

// Looks at the first bytes of a regular file with a compressed suffix.
Result<std::optional<StoredEntry>> SourceDir::ProbeContent(int dir, StoredEntry entry,
                                                           const StrippedName& stripped) const {
  if (entry.attributes.st_size == 0) {
    return entry;
  }
  entry.suffix = stripped.suffix;
  entry.known = known_.Find(Identity::Of(entry.attributes), stripped.suffix);
  if (entry.known) {
    if (entry.known->format) {
      MakeCompressed(entry, *entry.known->format, stripped);
    }
    return entry;
  }
  const int fd = os_.OpenBeneath(dir, entry.stored_name, O_RDONLY | O_NONBLOCK);
  if (fd == -ENOENT) {
    return std::nullopt;
  }
  if (fd == -EACCES || fd == -EPERM || fd == -ELOOP) {
    return entry;  // we may not look inside, or it became a symlink: it is shown as it is
  }
  if (fd < 0) {
    return FailErrno(-fd, "open " + Quoted(entry.stored_name));
  }
  entry.file = Descriptor(os_, fd);
  const auto size = static_cast<uint64_t>(entry.attributes.st_size);
  entry.head.resize(size <= SmallFiles::kLargestFileBytes ? size : kHeadBytes);
  const ssize_t got = os_.PRead(fd, entry.head, 0);
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "read " + Quoted(entry.stored_name));
  }
  entry.head.resize(static_cast<size_t>(got));
  if (const auto format = FormatBySuffix(stripped.suffix, entry.head)) {
    MakeCompressed(entry, *format, stripped);
  } else {
    if (IsUnchanged(os_, fd, entry.attributes)) {
      entry.known = known_.Add(Identity::Of(entry.attributes), stripped.suffix, {});
    }
    CloseFile(entry);
  }
  return entry;
}

// Decides whether `entry` gets the logical name that it wants.
Result<std::optional<StoredEntry>> SourceDir::Place(int dir, StoredEntry entry) const {
  // If commits move the files just now, a later look sees them at rest.
  constexpr int kMostTries = 8;
  for (int tries = 1;; ++tries) {
    if (entry.logical_name == entry.stored_name) {
      return entry;
    }
    XZFS_ASSIGN_OR_RETURN(const std::optional<StoredEntry> winner, WinnerOver(dir, entry));
    if (!winner) {
      return entry;
    }
    XZFS_ASSIGN_OR_RETURN(const Pair pair, LookAtPair(dir, *winner, entry));
    if (pair == Pair::kTwins) {
      return std::nullopt;
    }
    if (pair == Pair::kForeign || tries == kMostTries) {
      entry.lost_to_same_time = HasSameMtime(entry.attributes, winner->attributes);
      entry.kind = KindOf(entry.attributes);
      entry.logical_name = entry.stored_name;
      entry.lost_to = winner->stored_name;
      CloseFile(entry);
      return entry;
    }
    XZFS_ASSIGN_OR_RETURN(std::optional<StoredEntry> now, Probe(dir, entry.stored_name));
    if (!now) {
      return std::nullopt;
    }
    entry = std::move(*now);
  }
}

// The stored entry that is more important than `entry` and has the logical name that it wants. It
// is not open.
Result<std::optional<StoredEntry>> SourceDir::WinnerOver(int dir, const StoredEntry& entry) const {
  XZFS_ASSIGN_OR_RETURN(std::optional<StoredEntry> exact, Probe(dir, entry.logical_name));
  if (exact) {
    CloseFile(*exact);  // a chain of x.xz.xz.xz must not hold a descriptor for each step
    XZFS_ASSIGN_OR_RETURN(exact, Place(dir, std::move(*exact)));
    if (exact && exact->logical_name == entry.logical_name) {
      return exact;
    }
  }
  for (const std::string& stored : RivalsFor(entry.logical_name)) {
    if (stored == entry.stored_name) {
      break;
    }
    XZFS_ASSIGN_OR_RETURN(std::optional<StoredEntry> other, Probe(dir, stored));
    if (other && other->logical_name == entry.logical_name) {
      CloseFile(*other);
      return other;
    }
  }
  return std::nullopt;
}

// `loser` wants the name that `winner` has. A claim is on the disk before they are a pair, and is
// removed when they no longer are. So if there is none now, and a stat shows that both files are
// unchanged, there was none.
Result<SourceDir::Pair> SourceDir::LookAtPair(int dir, const StoredEntry& winner,
                                              const StoredEntry& loser) const {
  if (twins_ == nullptr || winner.kind != StoredKind::kPlain ||
      loser.kind != StoredKind::kCompressed || loser.format != Format::kXz) {
    return Pair::kForeign;
  }
  FileFacts plain;
  FileFacts compressed;
  for (int look = 1; look <= 2; ++look) {
    int error = os_.FactsAt(dir, winner.stored_name, &plain);
    error = error == 0 ? os_.FactsAt(dir, loser.stored_name, &compressed) : error;
    if (error < 0 && error != -ENOENT) {
      return FailErrno(-error, "stat " + Quoted(loser.stored_name));
    }
    if (error == -ENOENT || Identity::Of(plain.attributes) != Identity::Of(winner.attributes) ||
        Identity::Of(compressed.attributes) != Identity::Of(loser.attributes)) {
      return Pair::kMoved;
    }
    if (look == 1 && twins_->AreTwins(plain, compressed)) {
      return Pair::kTwins;
    }
  }
  return Pair::kForeign;
}

Result<bool> SourceDir::LooksPacked(int dir, const StoredEntry& plain) const {
  const std::string stored = CompressedNameOf(plain.logical_name, Format::kXz);
  if (stored.size() > NAME_MAX) {
    return false;
  }
  XZFS_ASSIGN_OR_RETURN(const std::optional<StoredEntry> packed, Probe(dir, stored));
  if (!packed || packed->kind != StoredKind::kCompressed || packed->format != Format::kXz ||
      !HasSameMtime(packed->attributes, plain.attributes)) {
    return false;
  }
  const auto plain_size = static_cast<uint64_t>(plain.attributes.st_size);
  if (packed->known) {
    return packed->known->plain_size == plain_size;
  }
  const auto index = BlockIndex::Read(ProbedFile(os_, *packed), packed->format, {});
  return index && index->plain_size() == plain_size;
}

}  // namespace xzfs
