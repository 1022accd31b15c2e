// Makes a compressed file plain again, in place.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/worker_pool.h"
#include "ctl/replace/replace_job.h"
#include "store/stored_key.h"
#include "xzfs/block_index.h"
#include "xzfs/random_access_file.h"

namespace xzfs {

// What all files of one unpack share.
struct UnpackContext {
  ReplaceContext base;
  WorkerPool& decoders;
  unsigned threads;
  bool keep = false;  // the compressed file stays
};

// The reverse of PackJob. It makes the plain file under a name of our own and verifies each Block's
// Check. Then the plain file gets its name, replacing nothing, and the compressed file is removed.
// Between these two steps they are twins, as in a commit, and a mount shows the plain one. If there
// are several names, the plain file gets all of them before the first compressed name is removed.
class UnpackJob : public ReplaceJob {
 public:
  UnpackJob(const UnpackContext& context, std::vector<FoundFile> names)
      : ReplaceJob(context.base, std::move(names)), context_(context) {}
  ~UnpackJob() override;

  uint64_t made_bytes() const override { return plain_size_; }

 private:
  Result<bool> TryMake() override;
  Status TryClaim() override;
  Result<bool> TryPublish() override;
  Result<bool> TryFinish() override;
  Replaced result() const override {
    return {.old_bytes = old_bytes(),
            .new_bytes = plain_size_,
            .plain_bytes = plain_size_,
            .compressed_bytes = old_bytes()};
  }
  Status Decode(const BlockIndex& index);
  Result<bool> GiveName(size_t which);
  Result<bool> IsMadeAlready(size_t which);
  Status TakeNameBack(size_t which);

  const UnpackContext& context_;
  std::unique_ptr<RandomAccessFile> stored_;
  std::vector<std::string> plain_names_;  // for `names_`
  std::vector<size_t> given_;             // those of them that the destructor takes back
  uint64_t plain_size_ = 0;
  StoredKey made_;
};

}  // namespace xzfs
