// Errors are ordinary values: a call that can fail returns Result<T>.
#pragma once

#include <cstring>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace xzfs {

// Why something failed. `code` is an errno value, what a program that asked through the mount is
// told: EIO for content that cannot be decoded or does not match its Check, ESTALE when the stored
// file is no longer the one that was opened, EFBIG when a documented limit is exceeded, otherwise
// what the system call said. `message` is one line for the log: what failed, on what, why, and what
// to do about it.
struct Error {
  int code = 0;
  std::string message;
  // Reading the stored file failed, not what is in it: trying again may help.
  bool of_the_source = false;
  // Nothing is wrong with the file: this liblzma lacks a filter or an option that it uses.
  bool is_unsupported = false;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> Fail(int code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

// An Error for a system call that failed with errno `code`: "WHAT: No such file or directory".
// REQUIRES: errno is read on the line after the call.
inline tl::unexpected<Error> FailErrno(int code, const std::string& what) {
  return Fail(code, what + ": " + std::strerror(code));
}

// The same for a call that reads the stored file.
inline tl::unexpected<Error> FailSource(int code, const std::string& what) {
  auto error = FailErrno(code, what);
  error.value().of_the_source = true;
  return error;
}

}  // namespace xzfs

// Leaves the function with the error if `expr`, a Result<T>, holds one. The second form binds its
// value to `decl` otherwise.
#define XZFS_RETURN_IF_ERROR(expr)                                          \
  do {                                                                      \
    auto xzfs_status = (expr);                                              \
    if (!xzfs_status) {                                                     \
      return tl::unexpected<::xzfs::Error>(std::move(xzfs_status.error())); \
    }                                                                       \
  } while (false)

#define XZFS_CONCAT_INNER(a, b) a##b
#define XZFS_CONCAT(a, b) XZFS_CONCAT_INNER(a, b)
#define XZFS_ASSIGN_OR_RETURN_IMPL(result, decl, expr)               \
  auto result = (expr);                                              \
  if (!result) {                                                     \
    return tl::unexpected<::xzfs::Error>(std::move(result.error())); \
  }                                                                  \
  decl = std::move(*result)
#define XZFS_ASSIGN_OR_RETURN(decl, expr) \
  XZFS_ASSIGN_OR_RETURN_IMPL(XZFS_CONCAT(xzfs_result_, __LINE__), decl, expr)
