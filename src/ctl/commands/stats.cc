// Prints what mounts report about themselves, once.
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/fail.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/metrics.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/shell/json.h"

namespace xzfs {
namespace {

class StatsCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--json", json_, "machine-readable");
    arguments.Flag("--prometheus", prometheus_, "text that Prometheus collects");
    arguments.Operands("MNT", paths_, "tops of mounts");
  }

  Status Run(Console& console) override {
    if (json_ && prometheus_) {
      return Fail(EINVAL, "--json and --prometheus exclude each other");
    }
    std::vector<MountStats> mounts;
    for (const std::string& path : paths_) {
      const auto mount = MountClient::Open(path);
      const auto stats = mount ? mount->Stats() : Result<Json>(Failure(mount.error()));
      if (stats) {
        mounts.emplace_back(path, *stats);
      } else {
        console.Error(stats.error().message);
      }
    }
    if (prometheus_) {
      console.Print(PrometheusText(mounts));
    } else if (json_) {
      Json document = NewDocument("stats");
      document["mounts"] = Json::array();
      for (const auto& [path, stats] : mounts) {
        Json mount;
        PutPath(mount, path);
        mount["stats"] = stats;
        document["mounts"].push_back(std::move(mount));
      }
      PrintJson(console, document);
    } else {
      for (const MountStats& mount : mounts) {
        console.Print(StatsTable(mount));
      }
    }
    return {};
  }

 private:
  bool json_ = false;
  bool prometheus_ = false;
  std::vector<std::string> paths_;
};

}  // namespace

std::unique_ptr<Command> MakeStatsCommand() { return std::make_unique<StatsCommand>(); }

}  // namespace xzfs
