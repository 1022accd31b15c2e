// The page that `xzfsctl report` writes.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/mounts/mount_client.h"
#include "ctl/report/report_place.h"
#include "ctl/report/report_tree.h"
#include "ctl/shell/json.h"

namespace xzfs {

// What a mount reports about itself.
struct MountReport {
  Json stats;
  std::vector<Moment> history;
};

// What every page begins with.
inline constexpr std::string_view kReportBeginning =
    "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
    "<meta name=generator content=\"xzfsctl report\">\n";

// One HTML document that needs no other file. Its tables and drawings can be read without scripts.
// With scripts the treemap can be enlarged, and commands have a button that copies them. Its size
// doesn't depend on the size of the tree. `mount`: null if the tree isn't a mount.
std::string ReportPage(const ReportPlace& place, const ReportTree& tree, const MountReport* mount);

}  // namespace xzfs
