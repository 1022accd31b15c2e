// What the shared library exports: what is declared with XZFS_EXPORT, and nothing else.
#pragma once

#define XZFS_EXPORT __attribute__((visibility("default")))
