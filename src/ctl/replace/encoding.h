// How commands that compress are to do it.
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

// xz's options of compression, and how many threads there are.
struct EncodingOptions {
  static constexpr unsigned kNoPreset = 10;

  unsigned preset = kNoPreset;
  bool extreme = false;
  std::string check;
  uint64_t block_bytes = uint64_t{1} << 20;
  unsigned threads = 0;

  void Declare(Arguments& arguments);
  // Checks them and replaces what stands for a default. Errors: EINVAL.
  Status Resolve();
  EncodeOptions encode() const;
};

void DeclareThreads(Arguments& arguments, unsigned& threads);

// The share of its size that a file is expected to have once it is compressed, from some parts of
// it: 1 is all of it. Blocks: encodes up to 512 KiB.
Result<double> EstimateRatio(const RandomAccessFile& plain, EncodePool& encoders,
                             const EncodeOptions& options);

}  // namespace xzfs
