// The records in the log of an overlay: what it is laid over, and which bytes it holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "store/stored_key.h"
#include "xzfs/result.h"

namespace xzfs {

// The log is a sequence of records, each on its own:
//
//   length of the body, 8 bytes | body | CRC64 of the body, 8 bytes
//
// A body is a type byte and its fields: numbers of 8 bytes, little-endian, and texts, which are a
// length and their bytes. The first record is a LogHeader. The log ends at the first record that is
// not whole or whose CRC64 is wrong: the last append was torn, or the file's size reached the disk
// and its bytes did not, which are zeros then. There may be new types in the future. A log with an
// unknown type is refused, as that could mean anything.

struct LogHeader {
  std::string boot_id;  // of the boot in which the log was begun
  uint64_t inode = 0;   // of the base, as in OverlayBase
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  uint64_t plain_size = 0;
  int64_t birth_ns = 0;  // 0: not known, as in a log of an earlier version, which ends before it
};
// These bytes are in the data file.
struct LogExtent {
  uint64_t offset = 0;
  uint64_t length = 0;
};
struct LogResize {
  uint64_t size = 0;
};
// What the first `end` bytes of the log say is on the disk.
struct LogSynced {
  uint64_t end = 0;
};
struct LogPath {
  std::string path;
};
struct LogDropped {};
struct LogPublishing {
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t birth_ns = 0;  // as in LogHeader
  StoredKey key() const { return {inode, size_bytes, mtime_ns, birth_ns}; }
};
// The ContentHash of the base, or of the file that Publishing names. Written where inode numbers
// may change.
struct LogContent {
  uint64_t is_published = 0;
  uint64_t hash = 0;
};
using LogRecord = std::variant<LogHeader, LogExtent, LogResize, LogSynced, LogPath, LogDropped,
                               LogPublishing, LogContent>;

// Appends the record's bytes to `out`.
void AppendRecord(const LogRecord& record, std::string& out);

struct ParsedLog {
  struct Line {
    LogRecord record;
    uint64_t end = 0;  // where the next one begins
  };
  std::vector<Line> lines;
  uint64_t end = 0;  // of the last whole record
};

// Returns the records up to the first that is damaged or torn. Offsets, sizes and their sums are
// checked: they are less than 2^63. Errors: EIO if there is no whole header: kSystem if there was
// one and it is damaged, kDamaged if nothing ever followed it. EOPNOTSUPP, kSystem, if the type of
// a record is unknown: a later version can still use the log.
Result<ParsedLog> ParseLog(std::span<const std::byte> bytes);

}  // namespace xzfs
