// Making errors.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "xzfs/result.h"

namespace xzfs {

// What an error is that has `code` for its content's or its caller's sake.
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

// An Error of the kind that `code` stands for.
inline Failure<> Fail(int code, std::string message) {
  return Failure<>(Error{KindOf(code), code, std::move(message)});
}

// An Error for a system call that failed with errno `code`: "WHAT: No such file or directory".
// Trying again may help. REQUIRES: errno is read on the line after the call.
inline Failure<> FailErrno(int code, const std::string& what) {
  return Failure<>(Error{ErrorKind::kSystem, code, what + ": " + std::strerror(code)});
}

// Whether the error is about what a file contains: whoever reads it again gets it again.
inline bool IsOfContent(const Error& error) {
  return error.kind == ErrorKind::kDamaged || error.kind == ErrorKind::kUnsupported ||
         error.kind == ErrorKind::kOverLimit;
}

}  // namespace xzfs
