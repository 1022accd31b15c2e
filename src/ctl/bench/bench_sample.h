// Which parts of the files `xzfsctl bench` measures.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/os.h"
#include "ctl/replace/tree.h"
#include "xzfs/result.h"

namespace xzfs {

// A range of a file's plain bytes. It begins at a multiple of kBenchPartBytes, and ends at the next
// one or at the file's end: so it is cut into Blocks as the file would be.
struct BenchPart {
  std::string path;
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t file_size = 0;        // plain
  uint64_t allocated_bytes = 0;  // of the whole file
  bool is_compressed = false;    // it is stored so, and must be decoded
};

// As the largest Block that is measured.
inline constexpr uint64_t kBenchPartBytes = uint64_t{4} << 20;

struct BenchSample {
  uint64_t files = 0;
  uint64_t compressed_files = 0;
  uint64_t plain_bytes = 0;
  uint64_t allocated_bytes = 0;
  // Of the bytes that can be a part: holes can't.
  uint64_t data_bytes = 0;
  // All files were seen; else the time was up before.
  bool is_complete = true;
  // In the order in which they were drawn: the first N of them are as good a sample as any N.
  std::vector<BenchPart> parts;
  // What can't be looked at, and why.
  std::vector<std::pair<std::string, std::string>> errors;
};

// Walks over `paths` until `end` or until `cancelled` is set, and draws parts by chance, the more
// likely the more data they have. The same tree gives the same parts. Holds some thousand of them,
// however many files there are. Blocks.
BenchSample DrawSample(Os& os, const TreeRules& rules, const std::vector<std::string>& paths,
                       const std::atomic<bool>& cancelled,
                       std::chrono::steady_clock::time_point end);

// Reads or decodes a part. In a file with holes it takes the next data instead of a hole, and in a
// giant Block its beginning, because all before the part would have to be decoded. Errors: what
// reading and decoding say, naming the file; ECANCELED.
Result<std::vector<std::byte>> ReadPart(Os& os, const BenchPart& part,
                                        const std::atomic<bool>& cancelled);

}  // namespace xzfs
