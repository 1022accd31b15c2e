// Compressing one plain file in place.
#pragma once

#include <memory>
#include <optional>

#include "ctl/encoding.h"
#include "ctl/replace_job.h"
#include "store/plain_commit.h"
#include "store/source_dir.h"
#include "store/xz_writer.h"

namespace xzfs {

// What all files of one pack share.
struct PackContext {
  ReplaceContext base;
  EncodePool& encoders;
  SourceDir& names;
  EncodeOptions options;
  double least_saving = 0.01;  // a share of the file's size
  bool keep = false;           // the plain file stays
  bool dry_run = false;        // nothing is written
};

// Takes the steps of a commit (docs/design.md, section 6).
class PackJob : public ReplaceJob {
 public:
  PackJob(const PackContext& context, FoundFile file)
      : ReplaceJob(context.base, std::move(file)), context_(context) {}
  ~PackJob() override;

  uint64_t made_bytes() const override { return written_.stored_bytes; }

 private:
  Result<bool> TryMake() override;
  Result<bool> TryPublish() override;
  Status TryFinish() override;
  PlainFile Plain() const;
  StoredEntry AsHot() const;
  Result<bool> IsWorthIt();
  Result<bool> Encode();

  const PackContext& context_;
  std::unique_ptr<RandomAccessFile> bytes_;
  XzWriteRequest request_;
  XzWriteResult written_;
  std::optional<PublishedTwin> twin_;  // until the plain file is gone
};

}  // namespace xzfs
