// The drawings of the report, as SVG.
#pragma once

#include <string>
#include <vector>

#include "ctl/mounts/mount_client.h"
#include "ctl/report/report_tree.h"

namespace xzfs {

// The treemap, with its legend.
std::string TreemapDrawing(const ReportTree& tree);

// Hit rate and how long reads took, over the mount's life. REQUIRES: history isn't empty.
std::string HistoryCharts(const std::vector<Moment>& history);

}  // namespace xzfs
