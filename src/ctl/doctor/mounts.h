// How the mounts of xzfs are that this machine has.
#pragma once

#include <chrono>
#include <vector>

#include "base/mount_table.h"
#include "ctl/doctor/finding.h"

namespace xzfs {

// Asks each mount of xzfs in `mounts` for its figures; one that does not answer within `patience`
// has a problem. Changes nothing. REQUIRES: no other thread runs.
Findings LookAtMounts(const std::vector<MountEntry>& mounts, std::chrono::milliseconds patience);

}  // namespace xzfs
