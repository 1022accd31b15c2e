// Compresses one plain file in place.
#pragma once

#include <memory>
#include <optional>

#include "ctl/replace/encoding.h"
#include "ctl/replace/replace_job.h"
#include "store/plain_commit.h"
#include "store/saving.h"
#include "store/source_dir.h"
#include "store/xz_writer.h"

namespace xzfs {

// What all files of one pack share.
struct PackContext {
  ReplaceContext base;
  EncodePool& encoders;
  SourceDir& names;
  EncodeOptions options;
  SavingRule saving;
  bool keep = false;     // the plain file stays
  bool dry_run = false;  // nothing is written
};

// Takes the steps of a commit (docs/commit.md, "pack, unpack and reblock"). If a file has several
// names, the compressed one gets them all before the first of the plain one is removed.
class PackJob : public ReplaceJob {
 public:
  PackJob(const PackContext& context, std::vector<FoundFile> names)
      : ReplaceJob(context.base, std::move(names)), context_(context) {}
  ~PackJob() override;

  uint64_t made_bytes() const override { return written_.stored_bytes; }

 private:
  Result<bool> TryMake() override;
  Status TryClaim() override;
  Result<bool> TryPublish() override;
  Result<bool> TryFinish() override;
  Replaced result() const override { return ResultOf(written_.stored_bytes); }
  Replaced ResultOf(uint64_t compressed_bytes) const;
  PlainFile Plain() const;
  StoredEntry AsPlain(const FoundFile& name) const;
  Result<bool> LinkTwin(SourceTwins& twins, const FoundFile& name);
  bool MustShrink() const;
  Result<bool> IsWorthIt();
  Result<bool> Estimate();
  Result<bool> Encode();

  const PackContext& context_;
  std::unique_ptr<RandomAccessFile> bytes_;
  DiskUse use_;  // of the plain file
  XzWriteRequest request_;
  XzWriteResult written_;
  std::optional<PublishedTwin> twin_;
  // The names from begin_ to end_ have the twin beside them, and the plain file still has them.
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace xzfs
