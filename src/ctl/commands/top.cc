// Shows again and again what a mount is doing.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/try.h"
#include "base/units.h"
#include "base/unmount.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"

namespace xzfs {
namespace {

// A bar for each value, as high as it is compared with the largest.
std::string Bars(const std::vector<double>& values, size_t width) {
  constexpr std::array kBars = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const size_t from = values.size() > width ? values.size() - width : 0;
  const double most = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  std::string bars;
  for (size_t i = from; i < values.size(); ++i) {
    const double share = most <= 0 ? 0 : values[i] / most;
    bars += kBars[static_cast<size_t>(std::ceil(share * (kBars.size() - 1)))];
  }
  return bars;
}

class TopCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--once", once_,
                   "print one page, then end; implied if stdout is not a terminal");
    arguments.Duration("--interval", interval_s_, "time from one page to the next (default: 1s)");
    arguments.Operand("MNT", path_, "the top of a mount");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(const MountClient mount, MountClient::Open(path_));
    const double interval_s = std::clamp(interval_s_.value_or(1.0), 0.1, 3600.0);
    const bool repeats = console.stdout_is_terminal() && !once_;
    XZFS_ASSIGN_OR_RETURN(Json before, mount.Stats());
    for (;;) {
      // The page shows rates, so time must pass before it is made.
      std::this_thread::sleep_for(std::chrono::duration<double>(interval_s));  // the interval
      const Result<Json> now = mount.Stats();
      const Result<Json> history = mount.History();
      if ((!now || !history) && !FindXzfsMount(MountpointOf(path_))) {
        console.Note(path_ + " is not mounted any more");
        return {};
      }
      XZFS_RETURN_IF_ERROR(now);
      XZFS_RETURN_IF_ERROR(history);
      const std::string page = Page(console, before, *now, MomentsOf(*history), interval_s);
      console.Print(repeats ? "\x1b[H\x1b[2J" + page : page);
      console.Flush();
      if (!repeats) {
        return {};
      }
      before = *now;
    }
  }

 private:
  std::string Page(const Console& console, const Json& before, const Json& now,
                   const std::vector<Moment>& history, double interval_s) const;

  bool once_ = false;
  std::optional<double> interval_s_;
  std::string path_;
};

std::string TopCommand::Page(const Console& console, const Json& before, const Json& now,
                             const std::vector<Moment>& history, double interval_s) const {
  const auto rate = [&](const char* pointer) {
    return std::max(0.0, NumberAt(now, pointer) - NumberAt(before, pointer)) / interval_s;
  };
  const auto size = [](double bytes) { return FormatSize(static_cast<uint64_t>(bytes)); };
  const auto bytes_at = [&](const char* pointer) { return size(NumberAt(now, pointer)); };
  std::string page = "xzfs " + Printable(path_) + "\n\n";
  const double hits = rate("/cache/hits");
  const double misses = rate("/cache/misses");
  page +=
      fmt::format("reading      {:>10.0f} reads/s   {:>10}/s   decoding {:>10}/s\n",
                  rate("/reads/count"), size(rate("/served_bytes")), size(rate("/decoded_bytes")));
  page += fmt::format("cache        {:>9.1f} % hits     {:>10} of {} used\n",
                      hits + misses > 0 ? 100 * hits / (hits + misses) : 0.0,
                      bytes_at("/budget/used"), bytes_at("/budget/bytes"));
  page += fmt::format("compressing  {:>10.0f} waiting   {:>10}     done {} -> {}\n",
                      NumberAt(now, "/commits/pending"), bytes_at("/commits/pending_bytes"),
                      bytes_at("/commits/plain_bytes"), bytes_at("/commits/stored_bytes"));
  page += fmt::format(
      "encoding     {:>10.1f} Blocks/s  failed {:.0f}   given up {:.0f}   damaged Blocks {:.0f}\n",
      rate("/commits/blocks_encoded"), NumberAt(now, "/commits/failed"),
      NumberAt(now, "/commits/given_up"), NumberAt(now, "/damaged/blocks"));
  if (now.contains("cold")) {
    page +=
        fmt::format("cold         {:>10.0f} files     {:>10} not yet cold, {:.0f} don't shrink\n",
                    NumberAt(now, "/cold/compressed/files"), bytes_at("/cold/waiting/bytes"),
                    NumberAt(now, "/cold/unshrinkable/files"));
  }
  std::vector<double> served, hit_rates, slowest;
  for (const Moment& moment : history) {
    served.push_back(moment.seconds > 0 ? moment.served_bytes / moment.seconds : 0);
    const double looks = moment.hits + moment.misses;
    hit_rates.push_back(looks > 0 ? moment.hits / looks : 0);
    slowest.push_back(moment.p99_us);
  }
  if (!history.empty()) {
    const size_t width = std::max(console.columns(), 40U) - 24;
    const auto most = [](const std::vector<double>& values) {
      return *std::max_element(values.begin(), values.end());
    };
    page += "\nsince it was mounted, where there were reads\n";
    page += "read         " + Bars(served, width) + " up to " + size(most(served)) + "/s\n";
    page += "hit rate     " + Bars(hit_rates, width) + "\n";
    page += "99 % within  " + Bars(slowest, width) +
            fmt::format(" up to {:.1f} ms\n", most(slowest) / 1000);
  }
  return page;
}

}  // namespace

std::unique_ptr<Command> MakeTopCommand() { return std::make_unique<TopCommand>(); }

}  // namespace xzfs
