#include "python_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "buffer.h"
#include "gil.h"

namespace xzfs::python {

namespace py = pybind11;

PythonFile::PythonFile(py::object file, uint64_t base, uint64_t size, std::string name)
    : file_(std::move(file)), base_(base), size_(size), name_(std::move(name)) {}

// A thread of the library may be the last that needs it.
PythonFile::~PythonFile() {
  const CallbackPass pass;
  if (pass) {
    const GilHold gil;
    file_ = {};
    raised_ = {};
  } else {
    // The interpreter, and with it the object, is gone.
    file_.release();
    raised_.Abandon();
  }
}

Result<size_t> PythonFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  if (offset >= size_ || out.empty()) {
    return size_t{0};
  }
  const CallbackPass pass;
  if (!pass) {
    return Failure(
        Error{ErrorKind::kCancelled, ECANCELED, name_ + " can't be read: Python has ended"});
  }
  const std::lock_guard lock(mutex_);
  const GilHold gil;
  const auto length = static_cast<size_t>(std::min<uint64_t>(out.size(), size_ - offset));
  try {
    return ReadHere(offset, out.first(length));
  } catch (py::error_already_set& raised) {
    return Failure(raised_.Keep(raised, "reading " + name_));
  }
}

// REQUIRES: the GIL. Throws what the object raises. The object gets no buffer of ours: it could
// keep it.
Result<size_t> PythonFile::ReadHere(uint64_t offset, std::span<std::byte> out) const {
  file_.attr("seek")(base_ + offset);
  size_t done = 0;
  while (done < out.size()) {
    const py::object got = file_.attr("read")(out.size() - done);
    if (got.is_none()) {
      return Failure(Error{ErrorKind::kSystem, EAGAIN,
                           name_ + " has no bytes yet: a Reader needs a file that blocks"});
    }
    const ReadableBuffer bytes(got);
    if (bytes.span().size() > out.size() - done) {
      return Failure(Error{ErrorKind::kSystem, EIO, name_ + " gave more bytes than asked for"});
    }
    if (bytes.span().empty()) {
      return Failure(Error{ErrorKind::kChanged, ESTALE,
                           name_ + " ends early: it became shorter while it was open"});
    }
    std::memcpy(out.data() + done, bytes.span().data(), bytes.span().size());
    done += bytes.span().size();
  }
  return done;
}

}  // namespace xzfs::python
