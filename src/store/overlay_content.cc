#include "store/overlay_content.h"

#include <algorithm>
#include <utility>

namespace xzfs {

OverlayContent::OverlayContent(LogHeader header, std::string path, uint64_t content)
    : header_(std::move(header)),
      path_(std::move(path)),
      content_(content),
      size_(header_.plain_size),
      base_limit_(header_.plain_size) {}

void OverlayContent::Replay(const LogRecord& record) {
  if (const auto* extent = std::get_if<LogExtent>(&record)) {
    changed_since_publishing_ = published_as_.has_value();
    written_.Add(extent->offset, extent->offset + extent->length);
    size_ = std::max(size_, extent->offset + extent->length);
  } else if (const auto* resize = std::get_if<LogResize>(&record)) {
    changed_since_publishing_ = published_as_.has_value();
    size_ = resize->size;
    base_limit_ = std::min(base_limit_, size_);
    written_.CutAt(size_);
  } else if (const auto* path = std::get_if<LogPath>(&record)) {
    path_ = path->path;
    dropped_ = false;
  } else if (const auto* as = std::get_if<LogPublishing>(&record)) {
    published_as_ = *as;
    changed_since_publishing_ = false;
  } else if (const auto* content = std::get_if<LogContent>(&record)) {
    (content->is_published != 0 ? published_content_ : content_) = content->hash;
  } else if (std::holds_alternative<LogDropped>(record)) {
    dropped_ = true;
  }
}

// Publishing comes before the extents if there was a change since then, otherwise after them.
std::string OverlayContent::FreshLog() const {
  std::string log;
  AppendRecord(header_, log);
  if (content_ != 0) {
    AppendRecord(LogContent{.is_published = 0, .hash = content_}, log);
  }
  AppendRecord(LogPath{path_}, log);
  if (changed_since_publishing_) {
    AppendPublishing(log);
  }
  if (base_limit_ < header_.plain_size) {
    AppendRecord(LogResize{base_limit_}, log);
  }
  for (const auto& [begin, end] : written_) {
    AppendRecord(LogExtent{begin, end - begin}, log);
  }
  AppendRecord(LogResize{size_}, log);
  if (dropped_) {
    AppendRecord(LogDropped{}, log);
  }
  if (!changed_since_publishing_) {
    AppendPublishing(log);
  }
  AppendRecord(LogSynced{log.size()}, log);
  return log;
}

void OverlayContent::AppendPublishing(std::string& log) const {
  if (published_as_) {
    AppendRecord(*published_as_, log);
  }
  if (published_content_ != 0) {
    AppendRecord(LogContent{.is_published = 1, .hash = published_content_}, log);
  }
}

std::vector<OverlayContent::Run> OverlayContent::Runs(uint64_t offset, uint64_t length) const {
  std::vector<Run> runs;
  const uint64_t end = offset < size_ ? offset + std::min(length, size_ - offset) : offset;
  for (uint64_t at = offset; at < end;) {
    Run run = {at, written_.RunEnd(at, end), Run::Where::kData};
    if (!written_.Covers(at, at + 1)) {
      run.where = at < base_limit_ ? Run::Where::kBase : Run::Where::kNowhere;
      run.end = at < base_limit_ ? std::min(run.end, base_limit_) : run.end;
    }
    runs.push_back(run);
    at = run.end;
  }
  return runs;
}

bool OverlayContent::Holds(uint64_t begin, uint64_t end) const {
  return written_.Covers(begin, end) && end <= size_;
}

bool OverlayContent::IsBase(uint64_t begin, uint64_t end) const {
  return end <= base_limit_ && !written_.Touches(begin, end);
}

OverlayBase OverlayContent::base() const {
  return {.inode = header_.inode,
          .size_bytes = header_.size_bytes,
          .mtime_ns = header_.mtime_ns,
          .birth_ns = header_.birth_ns,
          .plain_size = header_.plain_size,
          .path = path_,
          .content = content_};
}

void OverlayContent::RebaseOnPublished() {
  if (!published_as_) {
    return;
  }
  header_.inode = published_as_->inode;
  header_.size_bytes = published_as_->size_bytes;
  header_.mtime_ns = published_as_->mtime_ns;
  header_.birth_ns = published_as_->birth_ns;
  content_ = std::exchange(published_content_, 0);
  published_as_.reset();
  changed_since_publishing_ = false;
}

}  // namespace xzfs
