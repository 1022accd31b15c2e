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

}  // namespace xzfs
