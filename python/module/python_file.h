// A Python file object as what the library reads.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "errors.h"
#include "xzfs/random_access_file.h"

namespace xzfs::python {

// The bytes of a file object with `seek` and `read`, from one offset of it on. Any thread may read:
// reads take the GIL and come one at a time, because the object has one position. What the object
// raises is kept in raised(). Holds a reference to the object.
class PythonFile : public RandomAccessFile {
 public:
  // `base` and `size`, in bytes, are where it begins in `file` and how much there is. `name` is for
  // messages. REQUIRES: the GIL.
  PythonFile(pybind11::object file, uint64_t base, uint64_t size, std::string name);
  ~PythonFile() override;
  PythonFile(const PythonFile&) = delete;
  PythonFile& operator=(const PythonFile&) = delete;

  // Errors: kSystem if the object raises; kChanged if it ends early; kCancelled when the
  // interpreter ends. REQUIRES: no GIL, or the thread would wait for the one that reads, which
  // waits for the GIL.
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return size_; }

  RaisedException& raised() const { return raised_; }

 private:
  Result<size_t> ReadHere(uint64_t offset, std::span<std::byte> out) const;

  pybind11::object file_;
  const uint64_t base_;
  const uint64_t size_;
  const std::string name_;
  mutable RaisedException raised_;
  // For the position of the object. Taken before the GIL.
  mutable std::mutex mutex_;
};

}  // namespace xzfs::python
