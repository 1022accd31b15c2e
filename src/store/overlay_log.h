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

// Their bytes and meanings are in docs/format.md, "The log of an overlay". The fields of each
// struct are in the order in which they are stored.

struct LogHeader {
  std::string boot_id;  // of the boot in which the log was begun
  uint64_t inode = 0;   // of the base, as in OverlayBase
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  uint64_t plain_size = 0;
  int64_t birth_ns = 0;  // 0: not known, as in a log of an earlier version, which ends before it
};
struct LogExtent {
  uint64_t offset = 0;
  uint64_t length = 0;
};
struct LogResize {
  uint64_t size = 0;
};
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
struct LogContent {
  uint64_t is_published = 0;  // 1: of the file that LogPublishing describes
  uint64_t hash = 0;          // ContentHash
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
