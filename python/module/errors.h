// Errors of the library as Python's exceptions, and exceptions on their way through the library.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <deque>
#include <string>

#include "xzfs/result.h"

namespace xzfs::python {

// Throws what fits: LZMAError for what a file contains, OSError and MemoryError for what the system
// says, ValueError for what the caller asked for. REQUIRES: the GIL.
[[noreturn]] void Raise(const Error& error);

// The exceptions of one call into the library that the calling thread raised itself, in functions
// that the library called back. The latest is kept. To be made before the call and destroyed after
// it, with the GIL.
class OwnException {
 public:
  OwnException();
  ~OwnException();
  OwnException(const OwnException&) = delete;
  OwnException& operator=(const OwnException&) = delete;

 private:
  friend class RaisedException;
  OwnException* const outer_;  // of a call further out in this thread; null if there is none
  pybind11::object exception_;
};

// A Python function that the library calls, such as a file object's `read`, may raise. The library
// passes an Error on, perhaps to another thread; this keeps the exception meanwhile. One for each
// object that calls back. All of it REQUIRES the GIL, which guards it.
class RaisedException {
 public:
  // What the library gets for it. `what` is for messages.
  Error Keep(pybind11::error_already_set& raised, const std::string& what);

  // Whether there is an exception that `error` stands for.
  bool Has(const Error& error, const OwnException& own) const;
  // Raises the exception that `error` stands for, or what xzfs::python::Raise does.
  [[noreturn]] void Raise(const Error& error, OwnException& own);

  // Forgets the exception without the interpreter, which has ended.
  void Abandon() {
    for (Kept& kept : kept_) {
      kept.exception.release();
    }
  }

 private:
  struct Kept {
    std::string message;
    pybind11::object exception;
  };
  // Several threads may decode ahead, and any of their errors may be the one that a read gets.
  static constexpr size_t kMostKept = 32;

  std::deque<Kept>::const_iterator Find(const Error& error) const;

  // The latest of threads that didn't make the call, the newest at the front. They have no
  // traceback: that would keep the frames, and with them the file object, as long as nobody asks.
  std::deque<Kept> kept_;
};

}  // namespace xzfs::python
