// What bare liblzma needs for the bytes at some offsets of a .xz file: the reference for random
// reads. No code of xzfs is in it. Errors end the program: a reference that failed has no figure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/offsets.h"

namespace xzfs::bench {

// Plain bytes of the file, from its Index.
uint64_t PlainBytes(const std::string& path);

// For each offset of the plan: microseconds to read the one Block that holds it and to decode it
// alone, its Check verified. Finding the Block in the Index is not timed.
std::vector<double> DecodeBlocks(const std::string& path, OffsetPlan plan);

// For each offset of the plan, in a file of one Block: microseconds of decoding from the Block's
// start up to the end of a read there. One pass gives all of them: what a decoder has passed when
// is what a decoder that had started for that offset alone would have needed.
std::vector<double> DecodeFromStart(const std::string& path, OffsetPlan plan);

}  // namespace xzfs::bench
