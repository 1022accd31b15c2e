// What the log of an overlay says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/extent_map.h"
#include "store/overlay_log.h"
#include "store/stored_key.h"

namespace xzfs {

// Which stored file an overlay is laid over. Its ctime may change (chmod, rename).
struct OverlayBase {
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t birth_ns = 0;  // 0: not known
  StoredKey key() const { return {inode, size_bytes, mtime_ns, birth_ns}; }
  // The size of the logical file when the overlay was made.
  uint64_t plain_size = 0;
  // Below the top of the session's zone, where the stored file was seen last: a hint.
  std::string path;
  // ContentHash; 0 where the inode number is enough.
  uint64_t content = 0;
};

// The state of an overlay in memory: what the records of its log say, one after the other. It knows
// no files. Not thread-safe.
class OverlayContent {
 public:
  // Bytes [begin, end) of the logical file that lie in one place: in the base, in the data file,
  // or nowhere (they are zeros).
  struct Run {
    enum class Where { kBase, kData, kNowhere };
    uint64_t begin = 0;
    uint64_t end = 0;
    Where where = Where::kBase;
  };

  OverlayContent() = default;
  // For an overlay that holds nothing yet.
  OverlayContent(LogHeader header, std::string path, uint64_t content);

  void Replay(const LogRecord& record);
  // The shortest log that says all this, and that it is on the disk.
  std::string FreshLog() const;

  std::vector<Run> Runs(uint64_t offset, uint64_t length) const;
  // The log already says that the data file has these bytes.
  bool Holds(uint64_t begin, uint64_t end) const;
  // They all come from the base.
  bool IsBase(uint64_t begin, uint64_t end) const;
  const ExtentMap& written() const { return written_; }
  uint64_t size() const { return size_; }

  OverlayBase base() const;
  const LogHeader& header() const { return header_; }
  uint64_t content() const { return content_; }
  void SetBoot(std::string_view boot_id) { header_.boot_id = boot_id; }
  void SetInode(uint64_t inode) { header_.inode = inode; }

  bool dropped() const { return dropped_; }
  const std::optional<LogPublishing>& published_as() const { return published_as_; }
  uint64_t published_content() const { return published_content_; }
  // There was a change since Publishing.
  bool has_changed_since_publishing() const { return changed_since_publishing_; }
  // What was published is the base from here on. It has the same bytes as the old base where those
  // counted.
  void RebaseOnPublished();

 private:
  void AppendPublishing(std::string& log) const;

  LogHeader header_;
  std::string path_;
  uint64_t content_ = 0;
  bool dropped_ = false;
  std::optional<LogPublishing> published_as_;
  uint64_t published_content_ = 0;
  bool changed_since_publishing_ = false;
  uint64_t size_ = 0;
  // The least size that the file has had: bytes behind it don't come from the base.
  uint64_t base_limit_ = 0;
  ExtentMap written_;
};

}  // namespace xzfs
