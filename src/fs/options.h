// The options of a mount.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/completion.h"
#include "base/log.h"
#include "store/saving.h"
#include "xzfs/check.h"
#include "xzfs/result.h"

namespace xzfs {

// The least cache_size: one decoder of the default preset (-6: 9 MiB) a thread on a small machine,
// and some slices beside them.
inline constexpr uint64_t kMinCacheBytes = uint64_t{32} << 20;

enum class Compress {
  kClose,  // after the file was closed
  kCold,   // when the file was unused for some time
  kOff,    // never: the file stays plain
};

struct Options {
  // The one memory budget in bytes: decoded data, Blocks being decoded, decoder state, Indexes. 0:
  // the default, a quarter of the usable memory (physical, or the cgroup's limit), at least
  // kMinCacheBytes, at most 4 GiB. Raise it when the working set is larger.
  uint64_t cache_size_bytes = 0;
  // How many Blocks are decoded at once. 0: the default, the number of usable processors.
  unsigned threads = 0;
  // Blocks up to this many plain bytes are decoded whole and verified before a byte is returned;
  // larger ones stream through slices. 0: the default, 32 MiB or an eighth of cache_size, whichever
  // is less. 32 MiB holds the 24 MiB Blocks that `xz -T0` writes by default and costs at most about
  // 0.3 s before the first byte.
  uint64_t whole_block_limit_bytes = 0;
  // Bytes are returned as soon as they are decoded, before the Check of their Block was verified: a
  // random read waits less. For data that the programs verify themselves.
  bool verify_stream = false;
  // The largest size of the temporary file that holds the restart points of giant Blocks that don't
  // fit into memory; 0: no file. Unset: the default, 2 GiB or a quarter of the free space where it
  // lies ($TMPDIR or /var/tmp), whichever is less. Raise it for random reads in many or very large
  // giant Blocks.
  std::optional<uint64_t> restart_file_size_bytes;
  // For how long the kernel may use attributes and names without asking again, in seconds. Raise
  // them if no other program changes the source.
  double attr_timeout_s = 1.0;
  double entry_timeout_s = 1.0;
  // Other users than the one who mounts may use the mount, each with their own rights.
  bool allow_other = false;
  // The source is not changed. What earlier mounts left unfinished stays unfinished.
  bool read_only = false;
  // Allows writing to a source on FUSE or on a network. The user promises that no other client
  // writes there, which xzfs can't see. Without the option such a source is read-only.
  bool single_client = false;

  // When what was written is compressed.
  Compress compress = Compress::kClose;
  // With Compress::kCold: how long a file must not have been modified or read before it is
  // compressed, in seconds.
  double cold_after_s = 30.0 * 86400;
  // As xz's presets. 6: `scripts/bench --cases choice` shows what the others cost and save.
  unsigned preset = 6;
  bool extreme = false;
  // The Check ID of new files; a changed file keeps its own.
  Check check = Check::kCrc64;
  // Plain bytes in a Block: as many are decoded for a random read and encoded for a small change.
  uint64_t block_size_bytes = uint64_t{1} << 20;
  // How long a file must have been closed before it is committed, in seconds.
  double settle_s = 1.0;
  // The last close of a file that was written waits for its commit and returns its error.
  bool sync_close = false;
  // Globs of files that stay plain. A glob with a slash matches paths in the source, one without
  // matches names.
  std::vector<std::string> excludes;
  // Smaller files stay plain. 1: empty files stay plain, which compression would make larger.
  uint64_t min_size_bytes = 1;
  // Files stay plain if compressing them saves a smaller share than this of what they take of the
  // disk, or no disk block. 0: all are compressed.
  double min_saving_percent = 100 * SavingRule::kDefaultLeast;
  // How many Blocks are encoded at once. 0: the default, the number of usable processors.
  unsigned compress_threads = 0;
  // Lines of lower levels are not written to the log.
  LogLevel log_level = LogLevel::kInfo;
  // The mount unmounts itself when nobody has used it for so long, in seconds. 0: never. For a
  // mount that comes back by itself, as with systemd's automount.
  double idle_s = 0;
  // The kernel asks for POSIX ACLs.
  bool acl = true;
  // Passed to the mount as they are; `noexec` may be added. A file in the mount must not give
  // rights to a user that runs or opens it, so these two are the default; `suid` and `dev` replace
  // them.
  std::vector<std::string> mount_flags = {"nosuid", "nodev"};
};

// Applies one `key` or `key=value` of -o to `options`. Ignores fstab words that have no meaning
// here. Errors, with a one-line message: ENOENT for an unknown key, with the nearest known one;
// EINVAL for a bad value.
Status ApplyOption(std::string_view option, Options& options);

// The words for LogLevel in the option log_level.
std::string_view LogLevelName(LogLevel level);

// The known option whose name is nearest to that of `option`, or "" if none is near.
std::string NearestOption(std::string_view option);

// Splits a -o argument at its commas; "\," and "\\" mean a comma and a backslash in a value.
std::vector<std::string> SplitOptionList(std::string_view list);

// Replaces every 0 that means a default by its value for this machine, and checks all other values.
// Errors: EINVAL with a one-line message.
Status ResolveDefaults(Options& options);

// What may stand for the last option of a -o argument that is being typed.
Completion CompleteOptionList(std::string_view list);

// One line an option, for --help.
std::string OptionsHelp();

}  // namespace xzfs
