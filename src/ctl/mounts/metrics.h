// The figures of mounts, for people and for monitoring systems.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ctl/shell/json.h"

namespace xzfs {

// A mount's path, and what it answers to `user.xzfs.stats`.
using MountStats = std::pair<std::string, Json>;

// The exposition format of Prometheus, version 0.0.4: each mount is a label.
std::string PrometheusText(const std::vector<MountStats>& mounts);

// Two lines: the mount, and what it is.
std::string MountHeading(const MountStats& mount);

// The heading, what is not compressed and why, and a table of some 30 lines, which begins with what
// waits and what failed.
std::string StatsTable(const MountStats& mount);

}  // namespace xzfs
