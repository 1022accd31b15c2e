#include "bench/lzma_reference.h"

#include <lzma.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "bench/probe_file.h"

namespace xzfs::bench {
namespace {

using Clock = std::chrono::steady_clock;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct IndexDeleter {
  void operator()(lzma_index* index) const { lzma_index_end(index, nullptr); }
};
using IndexPtr = std::unique_ptr<lzma_index, IndexDeleter>;

class Stream {
 public:
  ~Stream() { lzma_end(&stream_); }
  lzma_stream* get() { return &stream_; }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

IndexPtr ReadIndex(const ProbeFile& file) {
  Stream stream;
  lzma_stream* const s = stream.get();
  lzma_index* raw = nullptr;
  Require(lzma_file_info_decoder(s, &raw, UINT64_MAX, file.size()) == LZMA_OK, "out of memory");
  std::vector<uint8_t> input(64 << 10);
  uint64_t position = 0;
  for (;;) {
    if (s->avail_in == 0) {
      s->next_in = input.data();
      s->avail_in = file.ReadAt(position, input.data(), input.size());
      position += s->avail_in;
    }
    const lzma_ret result = lzma_code(s, LZMA_RUN);
    if (result == LZMA_STREAM_END) {
      return IndexPtr(raw);
    }
    if (result == LZMA_SEEK_NEEDED) {
      position = s->seek_pos;
      s->avail_in = 0;
      continue;
    }
    Require(result == LZMA_OK, "no .xz file, or a damaged one");
  }
}

// The Filters of a decoded Block Header own their options.
class Filters {
 public:
  ~Filters() { lzma_filters_free(filters_, nullptr); }
  lzma_filter* get() { return filters_; }

 private:
  lzma_filter filters_[LZMA_FILTERS_MAX + 1] = {{.id = LZMA_VLI_UNKNOWN, .options = nullptr}};
};

void DecodeBlock(const lzma_index_iter& at, const std::vector<uint8_t>& in,
                 std::vector<uint8_t>& out) {
  Filters filters;
  lzma_block block = {};
  block.version = 1;
  block.check = at.stream.flags->check;
  block.filters = filters.get();
  block.header_size = lzma_block_header_size_decode(in[0]);
  Require(lzma_block_header_decode(&block, nullptr, in.data()) == LZMA_OK, "bad Block Header");
  Require(lzma_block_compressed_size(&block, at.block.unpadded_size) == LZMA_OK, "bad Block");
  size_t in_pos = block.header_size;
  size_t out_pos = 0;
  const lzma_ret result =
      lzma_block_buffer_decode(&block, nullptr, in.data(), &in_pos, at.block.total_size, out.data(),
                               &out_pos, at.block.uncompressed_size);
  Require(result == LZMA_OK && out_pos == at.block.uncompressed_size, "bad Block");
}

}  // namespace

uint64_t PlainBytes(const std::string& path) {
  return lzma_index_uncompressed_size(ReadIndex(ProbeFile(path)).get());
}

std::vector<double> DecodeBlocks(const std::string& path, OffsetPlan plan) {
  const ProbeFile file(path);
  const IndexPtr index = ReadIndex(file);
  plan.file_bytes = lzma_index_uncompressed_size(index.get());
  std::vector<double> times;
  std::vector<uint8_t> in;
  std::vector<uint8_t> out;
  for (const uint64_t offset : MakeOffsets(plan)) {
    lzma_index_iter at;
    lzma_index_iter_init(&at, index.get());
    Require(!lzma_index_iter_locate(&at, offset), "an offset beyond the file's end");
    // The memory is allocated before the clock starts, as in a cache that reuses its buffers.
    in.resize(std::max<size_t>(in.size(), at.block.total_size));
    out.resize(std::max<size_t>(out.size(), at.block.uncompressed_size));
    const Clock::time_point start = Clock::now();
    const uint64_t stored = file.ReadAt(at.block.compressed_file_offset, in.data(),
                                        static_cast<size_t>(at.block.total_size));
    Require(stored == at.block.total_size, "the file became shorter");
    DecodeBlock(at, in, out);
    times.push_back(MicrosecondsSince(start));
  }
  return times;
}

std::vector<double> DecodeFromStart(const std::string& path, OffsetPlan plan) {
  const ProbeFile file(path);
  {
    const IndexPtr index = ReadIndex(file);
    Require(lzma_index_block_count(index.get()) == 1, "this reference needs a file of one Block");
    plan.file_bytes = lzma_index_uncompressed_size(index.get());
  }
  std::vector<uint64_t> offsets = MakeOffsets(plan);
  std::sort(offsets.begin(), offsets.end());

  Stream stream;
  lzma_stream* const s = stream.get();
  std::vector<uint8_t> in(1 << 20);
  std::vector<uint8_t> out(64 << 10);
  std::vector<double> times;
  uint64_t position = 0;
  const Clock::time_point start = Clock::now();
  Require(lzma_stream_decoder(s, UINT64_MAX, 0) == LZMA_OK, "out of memory");
  while (times.size() < offsets.size()) {
    if (s->avail_in == 0) {
      s->next_in = in.data();
      s->avail_in = file.ReadAt(position, in.data(), in.size());
      position += s->avail_in;
    }
    s->next_out = out.data();
    s->avail_out = out.size();
    const lzma_ret result = lzma_code(s, LZMA_RUN);
    Require(result == LZMA_OK || result == LZMA_STREAM_END, "damaged");
    const double now = MicrosecondsSince(start);
    while (times.size() < offsets.size() &&
           offsets[times.size()] + plan.read_bytes <= s->total_out) {
      times.push_back(now);
    }
  }
  return times;
}

}  // namespace xzfs::bench
