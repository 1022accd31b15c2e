// A compressed file in memory and an engine to read it with.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "cache/read_engine.h"
#include "cache/xz_reader.h"
#include "support/mem_file.h"
#include "support/xz_builder.h"

namespace xzfs {

inline std::string ReadString(const RandomAccessFile& file, uint64_t offset, size_t size) {
  std::string out(size, '\0');
  const auto got = file.ReadAt(offset, std::as_writable_bytes(std::span(out)));
  if (!got) {
    return "error " + std::to_string(got.error().code) + ": " + got.error().message;
  }
  out.resize(*got);
  return out;
}

// An identity that no other stored file of the test has.
inline Identity NewIdentity() {
  static std::atomic<uint64_t> next{1};
  return {.device = 1, .inode = next++, .size_bytes = 0, .mtime_ns = 0, .ctime_ns = 0};
}

inline std::unique_ptr<XzReader> MakeReader(ReadEngine& engine,
                                            std::shared_ptr<const RandomAccessFile> stored,
                                            uint64_t plain_size,
                                            Identity identity = NewIdentity()) {
  return std::make_unique<XzReader>(engine, XzReader::Source{.identity = identity,
                                                             .format = Format::kXz,
                                                             .plain_size = plain_size,
                                                             .stored = std::move(stored),
                                                             .name = [] { return "test.xz"; }});
}

}  // namespace xzfs
