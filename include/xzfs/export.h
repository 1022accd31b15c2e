// What the shared library exports: what is declared with XZFS_EXPORT, and nothing else.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

#define XZFS_EXPORT __attribute__((visibility("default")))
