// All of the library. docs/library.md says what is where.
#pragma once

#if __cplusplus < 202002L
#error "xzfs needs C++20: compile with -std=c++20 or later"
#endif

// IWYU pragma: begin_exports
#include "xzfs/block_index.h"
#include "xzfs/byte_string.h"
#include "xzfs/check.h"
#include "xzfs/compress.h"
#include "xzfs/files.h"
#include "xzfs/filter.h"
#include "xzfs/format.h"
#include "xzfs/input_stream.h"
#include "xzfs/output_stream.h"
#include "xzfs/random_access_file.h"
#include "xzfs/reader.h"
#include "xzfs/result.h"
#include "xzfs/source_sink.h"
#include "xzfs/writer.h"
// IWYU pragma: end_exports
