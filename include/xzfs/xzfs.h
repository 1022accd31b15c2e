// All of the library. docs/library.md tells what is where.
#pragma once

// IWYU pragma: begin_exports
#include "xzfs/block_index.h"
#include "xzfs/bytes.h"
#include "xzfs/check.h"
#include "xzfs/codec.h"
#include "xzfs/file.h"
#include "xzfs/filter.h"
#include "xzfs/input_stream.h"
#include "xzfs/random_access_file.h"
#include "xzfs/reader.h"
#include "xzfs/result.h"
#include "xzfs/writer.h"
// IWYU pragma: end_exports
