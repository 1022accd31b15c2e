#include "store/overlay_log.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <limits>
#include <string>
#include <vector>

#include "store/records.h"

namespace xzfs {
namespace {

constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();

const LogHeader kHeader = {
    .boot_id = "boot", .inode = 7, .size_bytes = 100, .mtime_ns = -5, .plain_size = 1000};

std::string LogOf(const std::vector<LogRecord>& records) {
  std::string log;
  for (const LogRecord& record : records) {
    AppendRecord(record, log);
  }
  return log;
}

// The bytes of a record describe it completely.
std::string BytesOfRecord(const LogRecord& record) { return LogOf({record}); }

Result<ParsedLog> Parse(const std::string& log) { return ParseLog(BytesOf(log)); }

std::vector<LogRecord> OneOfEach() {
  return {
      kHeader,
      LogPath{std::string("a/\xFF/b\n.xz")},
      LogExtent{3, 5},
      LogResize{kMost},
      LogSynced{20},
      LogExtent{kMost - 1, 1},
      LogDropped{},
      LogPublishing{.inode = 9, .size_bytes = 8, .mtime_ns = std::numeric_limits<int64_t>::min()},
      LogPath{""},
      LogContent{.is_published = 1, .hash = 0xFEDCBA9876543210}};
}

// Whether `log` holds the first lines of `whole`, and nothing else.
void ExpectFirstLines(const ParsedLog& log, const std::vector<LogRecord>& whole) {
  ASSERT_LE(log.lines.size(), whole.size());
  uint64_t end = 0;
  for (size_t i = 0; i < log.lines.size(); ++i) {
    EXPECT_EQ(BytesOfRecord(log.lines[i].record), BytesOfRecord(whole[i]));
    end += BytesOfRecord(whole[i]).size();
    EXPECT_EQ(log.lines[i].end, end);
  }
  EXPECT_EQ(log.end, end);
}

TEST(OverlayLogTest, ReturnsEverythingThatWasAppended) {
  const auto parsed = Parse(LogOf(OneOfEach()));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->lines.size(), OneOfEach().size());
  ExpectFirstLines(*parsed, OneOfEach());
}

// The bytes that a reader of docs and overlay_log.h expects.
TEST(OverlayLogTest, TheLayoutIsTheDocumentedOne) {
  std::string body("\x02", 1);
  PutNumber(body, 0x0102030405060708U);
  PutNumber(body, 5);
  std::string record("\x11\0\0\0\0\0\0\0", 8);
  record += body;
  PutNumber(record, Crc64(BytesOf(body)));
  EXPECT_EQ(BytesOfRecord(LogExtent{0x0102030405060708U, 5}), record);
  EXPECT_EQ(body.substr(1, 8), "\x08\x07\x06\x05\x04\x03\x02\x01");
}

TEST(OverlayLogTest, ATornTailGivesTheRecordsBeforeIt) {
  const std::string log = LogOf(OneOfEach());
  const size_t header_end = BytesOfRecord(kHeader).size();
  for (size_t length = 0; length < log.size(); ++length) {
    for (const char* tail : {"", "zeros", "garbage"}) {
      std::string torn = log.substr(0, length);
      if (*tail == 'z') {  // the file's new size has reached the disk, its new bytes have not
        torn.resize(log.size() + 100);
      } else if (*tail == 'g') {
        torn.append(100, '\x07');
      }
      const auto parsed = Parse(torn);
      ASSERT_EQ(parsed.has_value(), length >= header_end) << length << tail;
      if (parsed) {
        ExpectFirstLines(*parsed, OneOfEach());
        EXPECT_LE(parsed->end, length);
      } else {
        EXPECT_EQ(parsed.error().code, EIO) << length << tail;
      }
    }
  }
}

TEST(OverlayLogTest, AFlippedBitEndsTheLogBeforeIt) {
  const std::string log = LogOf(OneOfEach());
  for (size_t bit = 0; bit < 8 * log.size(); ++bit) {
    std::string damaged = log;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const auto parsed = Parse(damaged);
    if (parsed) {
      ExpectFirstLines(*parsed, OneOfEach());
      EXPECT_LE(parsed->end, bit / 8);
    } else {
      EXPECT_EQ(parsed.error().code, EIO);
    }
  }
}

// A log without its header has no acknowledged changes. After a damaged header there may be
// acknowledged changes.
TEST(OverlayLogTest, AHeaderThatIsDamagedIsNotTakenForOneThatWasNeverWritten) {
  const std::string header = BytesOfRecord(kHeader);
  for (const std::string& absent :
       {std::string(), header.substr(0, 5), header.substr(0, header.size() - 1),
        std::string(5000, '\0'), header.substr(0, 30) + std::string(30, '\0')}) {
    const auto parsed = Parse(absent);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().kind, ErrorKind::kDamaged) << absent.size();
  }
  const std::string log = LogOf(OneOfEach());
  for (size_t at = 0; at < header.size(); ++at) {
    std::string damaged = log;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    const auto parsed = Parse(damaged);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code, EIO);
    EXPECT_EQ(parsed.error().kind, ErrorKind::kSystem) << at;
  }
}

TEST(OverlayLogTest, TheHeaderComesFirstAndOnce) {
  EXPECT_FALSE(Parse(LogOf({LogExtent{0, 1}, kHeader})));
  const auto twice = Parse(LogOf({kHeader, LogDropped{}, kHeader, LogDropped{}}));
  ASSERT_TRUE(twice);
  EXPECT_EQ(twice->lines.size(), 2U);
}

TEST(OverlayLogTest, ARecordOfALaterVersionIsRefused) {
  std::string log = BytesOfRecord(kHeader);
  PutRecord(log, "\x7Flater");
  const auto parsed = Parse(log);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, EOPNOTSUPP);
  EXPECT_EQ(parsed.error().kind, ErrorKind::kSystem) << "a later version can still use it";
}

TEST(OverlayLogTest, NumbersThatDoNotAddUpEndTheLog) {
  for (const LogRecord& bad :
       std::vector<LogRecord>{LogExtent{kMost, 1}, LogExtent{1, kMost}, LogExtent{kMost + 1, 0},
                              LogExtent{~uint64_t{0}, 2}, LogResize{kMost + 1}}) {
    const auto parsed = Parse(LogOf({kHeader, bad, LogDropped{}}));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->lines.size(), 1U);
  }
  LogHeader header = kHeader;
  header.plain_size = kMost + 1;
  EXPECT_FALSE(Parse(BytesOfRecord(header)));
}

// A record that is whole but has too few fields, as only a bug could write it.
TEST(OverlayLogTest, AShortBodyEndsTheLog) {
  for (char type = 1; type <= 7; ++type) {
    if (type == 6) {  // Dropped has no fields
      continue;
    }
    std::string log = BytesOfRecord(kHeader);
    PutRecord(log, std::string(1, type) + "1234567");
    const auto parsed = Parse(log);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->lines.size(), 1U) << int{type};
  }
}

// Such logs come from a version that knew no birth times.
TEST(OverlayLogTest, ALogWithoutBirthTimesIsRead) {
  std::string log;
  std::string body(1, '\1');
  PutText(body, "boot");
  for (const uint64_t number : {7U, 100U, 5U, 1000U}) {
    PutNumber(body, number);
  }
  PutRecord(log, body);
  body = "\7";
  for (const uint64_t number : {9U, 8U, 6U}) {
    PutNumber(body, number);
  }
  PutRecord(log, body);
  const auto parsed = ParseLog(BytesOf(log));
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->lines.size(), 2U);
  const auto& header = std::get<LogHeader>(parsed->lines[0].record);
  EXPECT_EQ(header.plain_size, 1000U);
  EXPECT_EQ(header.birth_ns, 0);
  const auto& publishing = std::get<LogPublishing>(parsed->lines[1].record);
  EXPECT_EQ(publishing.mtime_ns, 6);
  EXPECT_EQ(publishing.birth_ns, 0);
}

}  // namespace
}  // namespace xzfs
