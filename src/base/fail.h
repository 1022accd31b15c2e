// Makes errors.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "xzfs/result.h"

namespace xzfs {

// The kind of an error with this code, if the content or the caller is the cause.
inline ErrorKind KindOf(int code) {
  switch (code) {
    case EIO:
      return ErrorKind::kDamaged;
    case EFBIG:
      return ErrorKind::kOverLimit;
    case ESTALE:
      return ErrorKind::kChanged;
    case EINVAL:
      return ErrorKind::kInvalid;
    case ECANCELED:
      return ErrorKind::kCancelled;
    default:
      return ErrorKind::kSystem;
  }
}

// Makes an Error of the kind that `code` stands for.
inline Failure<> Fail(int code, std::string message) {
  return Failure<>(Error{KindOf(code), code, std::move(message)});
}

// Makes an Error for a system call that failed with errno `code`: "WHAT: No such file or
// directory". Trying again may help. REQUIRES: errno is read on the line after the call.
inline Failure<> FailErrno(int code, const std::string& what) {
  return Failure<>(Error{ErrorKind::kSystem, code, what + ": " + std::strerror(code)});
}

// Whether the error is about what a file contains: reading it again gives the same error.
inline bool IsOfContent(const Error& error) {
  return error.kind == ErrorKind::kDamaged || error.kind == ErrorKind::kUnsupported ||
         error.kind == ErrorKind::kOverLimit;
}

}  // namespace xzfs
