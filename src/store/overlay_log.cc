#include "store/overlay_log.h"

#include <cerrno>
#include <limits>
#include <string_view>
#include <utility>

#include "base/fail.h"
#include "store/records.h"

namespace xzfs {
namespace {

constexpr uint64_t kMostOffset = std::numeric_limits<int64_t>::max();
// A header's record is 69 bytes and the boot's id, which has 36.
constexpr uint64_t kMostHeaderBytes = 256;

// In the order of the variant's alternatives.
enum class Type : uint8_t {
  kHeader = 1,
  kExtent,
  kResize,
  kSynced,
  kPath,
  kDropped,
  kPublishing,
  kContent,
};

std::string BodyOf(const LogRecord& record) {
  std::string body(1, static_cast<char>(record.index() + 1));
  const auto put = [&](auto... numbers) { (PutNumber(body, static_cast<uint64_t>(numbers)), ...); };
  if (const auto* header = std::get_if<LogHeader>(&record)) {
    PutText(body, header->boot_id);
    put(header->inode, header->size_bytes, header->mtime_ns, header->plain_size, header->birth_ns);
  } else if (const auto* extent = std::get_if<LogExtent>(&record)) {
    put(extent->offset, extent->length);
  } else if (const auto* resize = std::get_if<LogResize>(&record)) {
    put(resize->size);
  } else if (const auto* synced = std::get_if<LogSynced>(&record)) {
    put(synced->end);
  } else if (const auto* path = std::get_if<LogPath>(&record)) {
    PutText(body, path->path);
  } else if (const auto* publishing = std::get_if<LogPublishing>(&record)) {
    put(publishing->inode, publishing->size_bytes, publishing->mtime_ns, publishing->birth_ns);
  } else if (const auto* content = std::get_if<LogContent>(&record)) {
    put(content->is_published, content->hash);
  }
  return body;
}

bool Signed(RecordParser& parser, int64_t& out) {
  uint64_t number = 0;
  const bool read = parser.Number(number);
  out = read ? static_cast<int64_t>(number) : 0;
  return read;
}

// Nothing if the fields are not those of the type.
std::optional<LogRecord> ParseBody(Type type, RecordParser parser) {
  switch (type) {
    case Type::kHeader: {
      LogHeader header;
      const bool whole = parser.Text(header.boot_id) && parser.Number(header.inode) &&
                         parser.Number(header.size_bytes) && Signed(parser, header.mtime_ns) &&
                         parser.Number(header.plain_size) && header.plain_size <= kMostOffset;
      Signed(parser, header.birth_ns);
      return whole ? std::optional<LogRecord>(std::move(header)) : std::nullopt;
    }
    case Type::kExtent: {
      LogExtent extent;
      const bool whole = parser.Number(extent.offset) && parser.Number(extent.length) &&
                         extent.offset <= kMostOffset &&
                         extent.length <= kMostOffset - extent.offset;
      return whole ? std::optional<LogRecord>(extent) : std::nullopt;
    }
    case Type::kResize: {
      LogResize resize;
      const bool whole = parser.Number(resize.size) && resize.size <= kMostOffset;
      return whole ? std::optional<LogRecord>(resize) : std::nullopt;
    }
    case Type::kSynced: {
      LogSynced synced;
      return parser.Number(synced.end) ? std::optional<LogRecord>(synced) : std::nullopt;
    }
    case Type::kPath: {
      LogPath path;
      return parser.Text(path.path) ? std::optional<LogRecord>(std::move(path)) : std::nullopt;
    }
    case Type::kDropped:
      return LogDropped{};
    case Type::kPublishing: {
      LogPublishing as;
      const bool whole =
          parser.Number(as.inode) && parser.Number(as.size_bytes) && Signed(parser, as.mtime_ns);
      Signed(parser, as.birth_ns);
      return whole ? std::optional<LogRecord>(as) : std::nullopt;
    }
    case Type::kContent: {
      LogContent content;
      const bool whole = parser.Number(content.is_published) && parser.Number(content.hash);
      return whole ? std::optional<LogRecord>(content) : std::nullopt;
    }
  }
  return std::nullopt;
}

// The error for a log without a header. The header is written first, in one write. So a log that
// ends within it, or has only zeros, holds nothing that was acknowledged.
Failure<> NoHeader(std::string_view text) {
  uint64_t body_size = 0;
  const bool ends_in_it =
      !RecordParser(text).Number(body_size) ||
      (body_size <= kMostHeaderBytes && text.size() < body_size + 2 * sizeof(uint64_t));
  if (ends_in_it || text.find_first_not_of('\0') == std::string_view::npos) {
    return Fail(EIO, "the log has no whole header");
  }
  return FailErrno(EIO, "the header of the log is damaged");
}

}  // namespace

void AppendRecord(const LogRecord& record, std::string& out) { PutRecord(out, BodyOf(record)); }

Result<ParsedLog> ParseLog(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  RecordParser parser(text);
  ParsedLog log;
  // Zeros are whole records with nothing in them: their CRC is 0.
  for (std::string body; parser.Record(body) && !body.empty();) {
    if (body[0] < 1 || body[0] > static_cast<char>(Type::kContent)) {
      return FailErrno(EOPNOTSUPP, "the log was written by a later version");
    }
    auto record =
        ParseBody(static_cast<Type>(body[0]), RecordParser(std::string_view(body).substr(1)));
    const bool is_header = record && std::holds_alternative<LogHeader>(*record);
    if (!record || is_header != log.lines.empty()) {
      break;
    }
    log.end = bytes.size() - parser.remaining();
    log.lines.push_back({std::move(*record), log.end});
  }
  if (log.lines.empty()) {
    return NoHeader(text);
  }
  return log;
}

}  // namespace xzfs
