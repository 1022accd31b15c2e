// Python objects whose bytes can be reached.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <span>

namespace xzfs::python {

// The bytes of an object as long as this lives. Made and destroyed with the GIL; the bytes may be
// used without it. The object keeps its size meanwhile.
class Buffer {
 public:
  // `flags`: of PyObject_GetBuffer. Throws what that raises: TypeError if the object has no bytes,
  // BufferError if they don't lie together or can't be written.
  Buffer(pybind11::handle object, int flags) {
    if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) {
      throw pybind11::error_already_set();
    }
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

 protected:
  std::byte* data() const { return static_cast<std::byte*>(view_.buf); }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_ = {};
};

class ReadableBuffer : public Buffer {
 public:
  explicit ReadableBuffer(pybind11::handle object) : Buffer(object, PyBUF_SIMPLE) {}
  std::span<const std::byte> span() const { return {data(), size()}; }
};

class WritableBuffer : public Buffer {
 public:
  explicit WritableBuffer(pybind11::handle object) : Buffer(object, PyBUF_WRITABLE) {}
  std::span<std::byte> span() const { return {data(), size()}; }
};

}  // namespace xzfs::python
