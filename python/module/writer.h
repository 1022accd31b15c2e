// Writing .xz files of Blocks, for Python.
#pragma once

#include <pybind11/pybind11.h>

#include <functional>
#include <memory>
#include <span>

#include "errors.h"
#include "of_process.h"
#include "xzfs/writer.h"

namespace xzfs::python {

// A Python function that takes bytes and returns how many it took, or None for all. What it raises
// is kept in raised(). All of it REQUIRES the GIL, except Put.
class PythonSink {
 public:
  explicit PythonSink(pybind11::object write) : write_(std::move(write)) {}
  // Errors: kSystem if the function raises; kCancelled when the interpreter ends. REQUIRES: no GIL.
  Status Put(std::span<const std::byte> bytes);
  RaisedException& raised() { return raised_; }

 private:
  const pybind11::object write_;
  RaisedException raised_;
};

// The Writer of the library, which gives the bytes of the file to a Python function. It encodes
// without the GIL. Any number of Python threads may call; they write one after another. The methods
// throw Python's exceptions, and what the function raises. REQUIRES: the GIL, for all of it.
class WriterObject {
 public:
  // `write` is called by the thread that calls this, Write or Close.
  WriterObject(pybind11::object write, const WriterOptions& options);

  void Write(pybind11::handle plain);
  // Completes the Stream. To be called once.
  void Close();

 private:
  // A Writer, and the thread that uses it.
  struct Turn;
  void Do(const std::function<Status(Writer&)>& step);

  PythonSink sink_;
  OfProcess<Turn> turn_;  // after what its Writer calls
};

// `plain` as one Stream of Blocks.
pybind11::bytes Compress(pybind11::handle plain, const WriterOptions& options);

}  // namespace xzfs::python
