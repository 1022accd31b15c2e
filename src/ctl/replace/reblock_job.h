// Gives one .xz file Blocks of another size, or another preset or Check, in place.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "cache/read_engine.h"
#include "ctl/replace/replace_job.h"
#include "store/encode_pool.h"
#include "store/xz_writer.h"
#include "xz/block_encoder.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// What all files of one reblock share.
struct ReblockContext {
  ReplaceContext base;
  ReadEngine& engine;
  EncodePool& encoders;
  EncodeOptions options;
  bool keeps_check = false;  // each file keeps its own, if it can be written
  bool all = false;          // also files that are seekable already
};

// Decodes the old form, encodes the new one from that, and gives it the old one's name. The old
// form is put aside and removed. The content, the name and the metadata stay the same. A file with
// several names is skipped.
class ReblockJob : public ReplaceJob {
 public:
  ReblockJob(const ReblockContext& context, std::vector<FoundFile> names)
      : ReplaceJob(context.base, std::move(names)), context_(context) {}

  void Abandon(const Error& error) override;
  uint64_t made_bytes() const override { return written_.stored_bytes; }

 private:
  Result<bool> TryMake() override;
  Status TryClaim() override;
  Result<bool> TryPublish() override;
  Result<bool> TryFinish() override { return true; }
  Replaced result() const override {
    return {.old_bytes = old_bytes(),
            .new_bytes = written_.stored_bytes,
            .plain_bytes = request_.plan.size(),
            .compressed_bytes = written_.stored_bytes};
  }
  EncodeOptions OptionsFor(const BlockIndex& index) const;
  Result<bool> Encode(const BlockIndex& index);

  const ReblockContext& context_;
  std::shared_ptr<const RandomAccessFile> stored_;
  XzWriteRequest request_;
  XzWriteResult written_;
  bool is_swapped_ = false;
};

}  // namespace xzfs
