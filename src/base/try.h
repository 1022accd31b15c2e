// Passes errors on, like a `?` behind an expression in other languages.
#pragma once

#include <utility>

#include "base/fail.h"  // IWYU pragma: export
#include "xzfs/result.h"

// If `expr`, a Result, holds an error, the function returns it. Otherwise the second form binds the
// value to `decl`.
#define XZFS_RETURN_IF_ERROR(expr)                            \
  do {                                                        \
    auto xzfs_status = (expr);                                \
    if (!xzfs_status) {                                       \
      return ::xzfs::Failure(std::move(xzfs_status.error())); \
    }                                                         \
  } while (false)

#define XZFS_CONCAT_INNER(a, b) a##b
#define XZFS_CONCAT(a, b) XZFS_CONCAT_INNER(a, b)
#define XZFS_ASSIGN_OR_RETURN_IMPL(result, decl, expr) \
  auto result = (expr);                                \
  if (!result) {                                       \
    return ::xzfs::Failure(std::move(result.error())); \
  }                                                    \
  decl = std::move(*result)
#define XZFS_ASSIGN_OR_RETURN(decl, expr) \
  XZFS_ASSIGN_OR_RETURN_IMPL(XZFS_CONCAT(xzfs_result_, __LINE__), decl, expr)
