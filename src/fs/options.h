// The options of a mount.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "xzfs/check.h"
#include "xzfs/result.h"

namespace xzfs {

// The least cache_size: one decoder of the default preset (-6: 9 MiB) a thread on a small machine,
// and some slices beside them.
inline constexpr uint64_t kMinCacheBytes = uint64_t{32} << 20;

enum class Compress {
  kClose,  // after it was closed
  kCold,   // when nobody has used it for a time
  kOff,    // never: it stays as it was written
};

struct Options {
  // The one memory budget in bytes: decoded data, Blocks being decoded, decoder state, Indexes.
  // 0 stands for the default: a quarter of the usable memory (physical, or the cgroup's limit), at
  // least kMinCacheBytes, at most 4 GiB. Raise it when the working set is larger.
  uint64_t cache_size_bytes = 0;
  // How many Blocks are decoded at once. 0 stands for the default: the processors we may use.
  unsigned threads = 0;
  // Blocks up to this many plain bytes are decoded whole and verified before a byte is returned;
  // larger ones stream through slices. 0 stands for the default: 32 MiB or an eighth of cache_size,
  // whichever is less. 32 MiB holds the 24 MiB Blocks that `xz -T0` writes by default and costs at
  // most about 0.3 s before the first byte.
  uint64_t whole_block_limit_bytes = 0;
  // Bytes are returned as soon as they are decoded, before the Check of their Block was verified:
  // a random read waits less. For data whose readers verify it themselves.
  bool verify_stream = false;
  // How large the temporary file may become that holds restart points of giant Blocks for which
  // there is no memory; 0: there is none. Unset stands for the default: 2 GiB or a quarter of what
  // is free where it lies ($TMPDIR or /var/tmp), whichever is less. Raise it for random reads in
  // many or very large giant Blocks.
  std::optional<uint64_t> restart_file_size_bytes;
  // For how long the kernel may use attributes and names without asking again, in seconds. Raise
  // them when nobody else changes the source.
  double attr_timeout_s = 1.0;
  double entry_timeout_s = 1.0;
  // Users other than the one who mounted may use the mount, each with their own rights.
  bool allow_other = false;
  // Nothing is changed, and what earlier mounts left unfinished stays so.
  bool read_only = false;
  // The source may be written to although it lies on FUSE or on a network: whoever gives it
  // promises that nobody else writes there, which can't be seen. Such a source is read-only without
  // it.
  bool single_client = false;

  // When what was written is compressed.
  Compress compress = Compress::kClose;
  // For how long nobody has modified or read a file that is compressed with Compress::kCold, in
  // seconds.
  double cold_after_s = 30.0 * 86400;
  // As xz's presets. 6: `scripts/bench --cases choice` shows what the others cost and save.
  unsigned preset = 6;
  bool extreme = false;
  // The Check ID that new files get; a changed one keeps its own.
  Check check = Check::kCrc64;
  // Plain bytes in a Block: what a random read decodes, and what a small change encodes.
  uint64_t block_size_bytes = uint64_t{1} << 20;
  // How long a file must have been closed before it is committed, in seconds.
  double settle_s = 1.0;
  // The last close of a file that was written waits for its commit and returns its error.
  bool sync_close = false;
  // Globs of files that stay plain: of names, or of paths in the source if they have a slash.
  std::vector<std::string> excludes;
  // Smaller files stay plain. 1: empty ones, which a compressed form would make larger.
  uint64_t min_size_bytes = 1;
  // How many Blocks are encoded at once. 0 stands for the default: the processors we may use.
  unsigned compress_threads = 0;
  // Lines below are not written to the log.
  LogLevel log_level = LogLevel::kInfo;
  // The kernel asks for POSIX ACLs.
  bool acl = true;
  // Passed to the mount as they are; noexec may join them. What a mounted file says must not give
  // rights to whoever runs it, so the first two are there unless `suid` or `dev` takes their place.
  std::vector<std::string> mount_flags = {"nosuid", "nodev"};
};

// Applies one `key` or `key=value` of -o to `options`. fstab words that mean nothing to us are
// swallowed. Errors, with a one-line message: ENOENT for an unknown key, naming the nearest known;
// EINVAL for a value that can't be.
Status ApplyOption(std::string_view option, Options& options);

// The words for LogLevel in the option log_level.
std::string_view LogLevelName(LogLevel level);

// The known option whose name is nearest to that of `option`, or "" if none is near.
std::string NearestOption(std::string_view option);

// Splits a -o argument at its commas; "\," and "\\" stand for a comma and a backslash in a value.
std::vector<std::string> SplitOptionList(std::string_view list);

// Replaces every 0 that stands for a default by its value for this machine and checks the rest.
// Errors: EINVAL with a one-line message.
Status ResolveDefaults(Options& options);

// One line an option, for --help.
std::string OptionsHelp();

}  // namespace xzfs
