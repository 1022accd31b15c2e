// The time that bare liblzma needs for the bytes at some offsets of a .xz file: the reference for
// random reads. It contains no code of xzfs. Errors end the program: a failed reference has no
// figure.
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
// start up to the end of a read there. One pass gives all of them: a decoder that starts for one
// offset alone needs the same time up to there.
std::vector<double> DecodeFromStart(const std::string& path, OffsetPlan plan);

}  // namespace xzfs::bench
