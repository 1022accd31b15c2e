#include "errors.h"

#include <cerrno>
#include <utility>

namespace xzfs::python {
namespace {

namespace py = pybind11;

thread_local OwnException* own_exception = nullptr;

[[noreturn]] void RaiseObject(const py::object& exception) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw py::error_already_set();
}

// An OSError's errno.
int CodeOf(const py::object& exception) {
  if (PyErr_GivenExceptionMatches(exception.ptr(), PyExc_OSError) == 0) {
    return EIO;
  }
  const py::object code = py::getattr(exception, "errno", py::none());
  return py::isinstance<py::int_>(code) ? code.cast<int>() : EIO;
}

std::string TextOf(const py::object& exception) {
  std::string text = Py_TYPE(exception.ptr())->tp_name;
  try {
    text += ": " + py::str(exception).cast<std::string>();
  } catch (const py::error_already_set&) {
    // It can't say what it is.
  }
  return text;
}

}  // namespace

void Raise(const Error& error) {
  switch (error.kind) {
    case ErrorKind::kDamaged:
    case ErrorKind::kUnsupported:
    case ErrorKind::kOverLimit:
      RaiseObject(py::module_::import("lzma").attr("LZMAError")(error.message));
    case ErrorKind::kInvalid:
      throw py::value_error(error.message);
    case ErrorKind::kSystem:
      if (error.code == ENOMEM) {
        RaiseObject(py::handle(PyExc_MemoryError)(error.message));
      }
      break;
    case ErrorKind::kChanged:
    case ErrorKind::kCancelled:
      break;
  }
  // It makes a FileNotFoundError of ENOENT, and so on.
  RaiseObject(py::handle(PyExc_OSError)(error.code, error.message));
}

OwnException::OwnException() : outer_(std::exchange(own_exception, this)) {}

OwnException::~OwnException() { own_exception = outer_; }

Error RaisedException::Keep(py::error_already_set& raised, const std::string& what) {
  py::object exception = raised.value();
  Error error{ErrorKind::kSystem, CodeOf(exception), what + " raised " + TextOf(exception)};
  if (own_exception != nullptr) {
    PyException_SetTraceback(exception.ptr(),
                             raised.trace() ? raised.trace().ptr() : py::none().ptr());
    own_exception->exception_ = std::move(exception);
  } else {
    PyException_SetTraceback(exception.ptr(), py::none().ptr());
    kept_.push_front({error.message, std::move(exception)});
    if (kept_.size() > kMostKept) {
      kept_.pop_back();
    }
  }
  return error;
}

std::deque<RaisedException::Kept>::const_iterator RaisedException::Find(const Error& error) const {
  auto best = kept_.end();
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    // "offset 1" is part of "offset 12", too.
    if (error.message.find(it->message) != std::string::npos &&
        (best == kept_.end() || it->message.size() > best->message.size())) {
      best = it;
    }
  }
  return best;
}

bool RaisedException::Has(const Error& error, const OwnException& own) const {
  return own.exception_ || Find(error) != kept_.end();
}

void RaisedException::Raise(const Error& error, OwnException& own) {
  if (own.exception_) {
    RaiseObject(std::exchange(own.exception_, {}));
  }
  if (const auto found = Find(error); found != kept_.end()) {
    const py::object exception = found->exception;
    kept_.erase(found);
    RaiseObject(exception);
  }
  python::Raise(error);
}

}  // namespace xzfs::python
