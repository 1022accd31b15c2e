// Whether a caller waits for a commit.
#pragma once

namespace xzfs {

// kCaller: a program waits for this commit. It has closed its last descriptor of the file, even if
// the kernel has not released the handle yet.
enum class CommitFor { kNobody, kCaller };

}  // namespace xzfs
