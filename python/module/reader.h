// Random access to compressed files, for Python.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "of_process.h"
#include "python_file.h"
#include "xzfs/reader.h"

namespace xzfs::python {

// The Reader of the library. It reads without the GIL; any number of Python threads may call at the
// same time. The methods throw Python's exceptions. REQUIRES: the GIL, for all of it.
class ReaderObject {
 public:
  // Of a regular file that `descriptor` is open for; it may be closed after that. With the options'
  // defaults it shares one cache with all others that have them.
  static std::unique_ptr<ReaderObject> OfDescriptor(int descriptor, const std::string& name,
                                                    const ReadCacheOptions& options);
  // Of a file object. It has a cache of its own: the bytes may come out of another Reader.
  static std::unique_ptr<ReaderObject> OfFile(std::shared_ptr<const PythonFile> file,
                                              const std::string& name,
                                              const ReadCacheOptions& options);

  // Up to `size` bytes from `offset`, fewer only at the end.
  pybind11::object ReadAt(uint64_t offset, uint64_t size) const;
  // The same into a buffer. Returns how many.
  size_t ReadInto(uint64_t offset, pybind11::handle buffer) const;

  uint64_t size() const { return reader_.Get()->size(); }
  uint64_t compressed_size() const { return reader_.Get()->compressed_size(); }
  uint64_t block_count() const { return reader_.Get()->index().block_count(); }
  // Number, plain offset and size, compressed offset and size, Check. Throws IndexError.
  pybind11::tuple Block(uint64_t number) const;
  // The number of the Block that holds the byte at `offset`. Throws IndexError.
  uint64_t Find(uint64_t offset) const;

  // Lets the file go when the reads that are under way have ended.
  void Close() { reader_.Reset(); }

 private:
  ReaderObject(std::shared_ptr<const Reader> reader, std::shared_ptr<const PythonFile> file)
      : file_(std::move(file)), reader_(std::move(reader)) {}
  void Read(uint64_t offset, std::span<std::byte> out) const;

  const std::shared_ptr<const PythonFile> file_;  // null: there is a descriptor
  OfProcess<const Reader> reader_;
};

// All Streams in `data`, decoded by `threads` threads; 0: by one for each processor. None if that
// is no .xz file of several Blocks, whole from its first byte to its last.
pybind11::object Decompress(pybind11::handle data, unsigned threads);

// Ends the threads that Readers share, when the last of these Readers is closed.
void DropSharedCache();

}  // namespace xzfs::python
