// One directory of the source: which stored file each logical name stands for.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/os.h"
#include "store/known_files.h"
#include "store/overwritten_bases.h"
#include "store/source_twins.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

enum class StoredKind {
  kDirectory,
  kPlain,         // a regular file that is shown as it is
  kCompressed,    // a regular file whose decoded bytes are shown
  kSymlink,       // shown as it is
  kStrippedLink,  // `L.xz` -> `T.xz`, shown as `L` -> `T`
  kSpecial,       // FIFO, socket, device
};

// What one name stands for.
struct StoredEntry {
  std::string stored_name;
  std::string logical_name;
  StoredKind kind = StoredKind::kPlain;
  Format format = Format::kXz;  // of kCompressed
  // If it is shown under its stored name because another file has the logical name: that file's
  // stored name.
  std::string lost_to;
  // Both also have the same mtime: a version of xzfs without records may have left them half done.
  bool lost_to_same_time = false;
  struct stat attributes = {};  // of the stored file
  uint64_t mount_id = 0;        // of a directory, see FileFacts
  // If it has one of the suffixes of names.h and is a regular file:
  Suffix suffix = Suffix::kXz;
  // what is known about this version, so that we don't have to look into the file;
  std::optional<KnownFile> known;
  // else, for kCompressed: the file, open for reading, and its first bytes, which are all if it is
  // small.
  Descriptor file;
  std::vector<std::byte> head;
};

// An open stored file with its first bytes in memory, so that looking at it costs fewer reads.
// Thread-safe. `entry` outlives it.
class ProbedFile : public RandomAccessFile {
 public:
  ProbedFile(Os& os, const StoredEntry& entry) : os_(os), entry_(entry) {}
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return static_cast<uint64_t>(entry_.attributes.st_size); }

 private:
  Os& os_;
  const StoredEntry& entry_;
};

// The format of a file with this suffix, by its first kFormatProbeBytes bytes, or fewer if it is
// shorter. Nothing if they don't agree with the suffix.
std::optional<Format> FormatBySuffix(Suffix suffix, std::span<const std::byte> head);

// The file that is open as `fd` still is the version that `st` describes: what was read since that
// stat is of that version.
bool IsUnchanged(Os& os, int fd, const struct stat& st);

// Applies the naming rules (docs/format.md, "Names") in directories of the source. Holds no state
// about them: every answer is what is stored now, except for what is known about versions.
// Thread-safe.
class SourceDir {
 public:
  // All outlive it. `twins` and `overwritten` may be null: then there are none.
  SourceDir(Os& os, KnownFiles& known, TwinRecords* twins = nullptr,
            const OverwrittenBases* overwritten = nullptr)
      : os_(os), known_(known), twins_(twins), overwritten_(overwritten) {}

  // Finds what is shown as `logical` in the directory `dir`. For an ordinary compressed file this
  // costs a failing stat (is there a plain file?) and a stat. If the version isn't known, it costs
  // an open and a read more, and for the Index up to two more reads unless the file is small. Only
  // regular files are opened. Errors: ENOENT; what the system said. Blocks.
  Result<StoredEntry> Lookup(int dir, const std::string& logical) const;

  // How the stored name `stored` is shown. Nothing if it is not shown: it has just vanished, or a
  // record of ours says that it is the twin of a plain file.
  Result<std::optional<StoredEntry>> Show(int dir, const std::string& stored) const;

  // Whether there is an `.xz` of the plain file `plain` with its time and size: then a user seems
  // to have compressed and kept it. That is no proof, so nothing may be changed because of it.
  Result<bool> LooksPacked(int dir, const StoredEntry& plain) const;

 private:
  Result<std::optional<StoredEntry>> Find(int dir, const std::string& logical) const;
  Result<std::optional<StoredEntry>> Probe(int dir, const std::string& stored) const;
  Result<std::optional<StoredEntry>> ProbeLink(int dir, StoredEntry entry,
                                               std::string logical) const;
  Result<std::optional<StoredEntry>> ProbeContent(int dir, StoredEntry entry,
                                                  const struct StrippedName& stripped) const;
  Result<std::optional<StoredEntry>> Place(int dir, StoredEntry entry) const;
  Result<std::optional<StoredEntry>> WinnerOver(int dir, const StoredEntry& entry) const;
  enum class Pair { kTwins, kForeign, kMoved };
  Result<Pair> LookAtPair(int dir, const StoredEntry& winner, const StoredEntry& loser) const;

  Os& os_;
  KnownFiles& known_;
  TwinRecords* const twins_;
  const OverwrittenBases* const overwritten_;
};

}  // namespace xzfs
