// How the commands that compress do it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ctl/shell/arguments.h"
#include "store/encode_pool.h"
#include "xz/block_encoder.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// xz's compression options, and the number of threads.
struct EncodingOptions {
  static constexpr unsigned kNoPreset = 10;

  unsigned preset = kNoPreset;
  bool extreme = false;
  std::string check;
  uint64_t block_bytes = uint64_t{1} << 20;
  unsigned threads = 0;

  void Declare(Arguments& arguments);
  // Checks them, and replaces each value that stands for a default. Errors: EINVAL.
  Status Resolve();
  EncodeOptions encode() const;
};

void DeclareThreads(Arguments& arguments, unsigned& threads);

// Estimates, from some parts of a file, its compressed size as a share of its size: 1 means that
// nothing is saved. Blocks: encodes up to 512 KiB.
Result<double> EstimateRatio(const RandomAccessFile& plain, EncodePool& encoders,
                             const EncodeOptions& options);

}  // namespace xzfs
