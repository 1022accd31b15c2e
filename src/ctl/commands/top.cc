// Shows again and again what a mount is doing.
//
// A page has rates, which need two answers of the mount: the difference of the figures, divided by
// the time between them. On a terminal the pages are drawn on a Screen until `q` is pressed, a
// signal comes, or the mount ends. Else one page is printed.
//
// Each answer is a Question, so that keys and signals work while the mount doesn't answer. The page
// then says for how long it has not.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/try.h"
#include "base/units.h"
#include "base/unmount.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/mounts/question.h"
#include "ctl/shell/screen.h"
#include "ctl/shell/text_width.h"

namespace xzfs {
namespace {

using Clock = std::chrono::steady_clock;

// The first page comes sooner than the others: an empty screen says nothing.
constexpr double kFirstPageSeconds = 0.3;
// A mount that takes longer for its figures has a daemon that hangs, as a rule.
constexpr std::chrono::milliseconds kPatience(2000);

// A bar for each value, as high as it is compared with the largest.
std::string Bars(const std::vector<double>& values, size_t width) {
  constexpr std::array kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::array kAscii = {" ", ".", ":", "-", "=", "+", "*", "#", "@"};
  const auto& signs = ShowsUtf8() ? kBlocks : kAscii;
  const size_t from = values.size() > width ? values.size() - width : 0;
  const double most = values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  std::string bars;
  for (size_t i = from; i < values.size(); ++i) {
    const double share = most <= 0 ? 0 : values[i] / most;
    bars += signs[static_cast<size_t>(std::ceil(share * static_cast<double>(signs.size() - 1)))];
  }
  return bars;
}

// `page` with each line cut to the width.
std::string Fitted(const std::string& page, size_t columns) {
  std::string fitted;
  for (size_t at = 0; at < page.size();) {
    const size_t end = std::min(page.find('\n', at), page.size());
    fitted += CutAtEnd(std::string_view(page).substr(at, end - at), columns) + "\n";
    at = end + 1;
  }
  return fitted;
}

std::string HistoryText(const std::vector<Moment>& history, size_t columns) {
  if (history.empty()) {
    return "";
  }
  std::vector<double> served, hit_rates, slowest;
  for (const Moment& moment : history) {
    served.push_back(moment.seconds > 0 ? moment.served_bytes / moment.seconds : 0);
    const double looks = moment.hits + moment.misses;
    hit_rates.push_back(looks > 0 ? moment.hits / looks : 0);
    slowest.push_back(moment.p99_us);
  }
  // What stands before the bars and behind them.
  constexpr size_t kOtherColumns = 33;
  const size_t width = std::max<size_t>(columns, kOtherColumns + 8) - kOtherColumns;
  const auto most = [](const std::vector<double>& values) {
    return *std::max_element(values.begin(), values.end());
  };
  std::string text = "\nsince it was mounted, where there were reads\n";
  text += "read         " + Bars(served, width) + " up to " +
          FormatSize(static_cast<uint64_t>(most(served))) + "/s\n";
  text += "hit rate     " + Bars(hit_rates, width) + "\n";
  text += "99 % within  " + Bars(slowest, width) +
          fmt::format(" up to {:.1f} ms\n", most(slowest) / 1000);
  return text;
}

class TopCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("--once", once_,
                   "print one page, then end; implied if stdout is not a terminal");
    arguments.Duration("--interval", interval_s_, "time from one page to the next (default: 1s)");
    arguments.OptionalOperand("MNT", path_, "the top of a mount (default: the only one)");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(path_, NamedOrOnlyMount(path_));
    XZFS_ASSIGN_OR_RETURN(const Json answer, Question([this] { return Ask(); }).Wait());
    const Sample first = SampleOf(answer);
    const double interval_s = std::clamp(interval_s_.value_or(1.0), 0.1, 3600.0);
    if (!console.stdout_is_terminal() || once_) {
      std::this_thread::sleep_for(std::chrono::duration<double>(interval_s));  // for the rates
      XZFS_ASSIGN_OR_RETURN(const Json second, Question([this] { return Ask(); }).Wait());
      console.Print(Page(console, first, SampleOf(second)));
      return {};
    }
    Status watched = Watch(console, first, interval_s);
    if (!watched && !FindXzfsMount(MountpointOf(path_))) {
      console.Note(path_ + " is not mounted any more");
      return {};
    }
    return watched;
  }

 private:
  // What the mount said at one time.
  struct Sample {
    Clock::time_point time;
    Json stats;
    std::vector<Moment> history;
  };

  // What SampleOf takes.
  Result<Json> Ask() const {
    XZFS_ASSIGN_OR_RETURN(const MountClient mount, MountClient::Open(path_));
    Json answer;
    XZFS_ASSIGN_OR_RETURN(answer["stats"], mount.Stats());
    XZFS_ASSIGN_OR_RETURN(answer["history"], mount.History());
    return answer;
  }

  static Sample SampleOf(const Json& answer) {
    return {
        .time = Clock::now(), .stats = answer["stats"], .history = MomentsOf(answer["history"])};
  }

  Status Watch(Console& console, Sample before, double interval_s) const;
  std::string Page(const Console& console, const Sample& before, const Sample& now) const;

  bool once_ = false;
  std::optional<double> interval_s_;
  std::string path_;
};

Status TopCommand::Watch(Console& console, Sample before, double interval_s) const {
  Screen screen;
  std::string page, last_line;
  const auto seconds = [](double count) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(count));
  };
  // When to ask, or, while the question is open, when it was asked.
  Clock::time_point next = before.time + seconds(std::min(interval_s, kFirstPageSeconds));
  std::optional<Question> question;
  for (;;) {
    if (!question && Clock::now() >= next) {
      question.emplace([this] { return Ask(); });
      next = Clock::now();
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        question ? kPatience : std::max(next - Clock::now(), Clock::duration::zero()));
    switch (screen.Wait(left, question ? question->fd() : -1)) {
      case Screen::Event::kSignal:
        console.EndBySignal(screen.signal());
        return {};
      case Screen::Event::kKey:
        if (screen.key() == 'q' || screen.key() == 'Q') {
          return {};
        }
        continue;
      case Screen::Event::kResized:
        break;
      case Screen::Event::kTime:
        if (!question) {
          continue;
        }
        last_line = fmt::format("no answer for {:.0f} s, q quits\n",
                                std::chrono::duration<double>(Clock::now() - next).count());
        break;
      case Screen::Event::kReadable: {
        const auto answer = question->Read();
        if (!answer) {
          continue;
        }
        question.reset();
        if (!*answer) {
          return Failure(answer->error());
        }
        Sample now = SampleOf(**answer);
        page = Page(console, before, now);
        last_line = "q quits\n";
        before = std::move(now);
        next = before.time + seconds(interval_s);
        break;
      }
    }
    screen.Draw(Fitted(page + "\n" + last_line, console.columns()));
  }
}

std::string TopCommand::Page(const Console& console, const Sample& before,
                             const Sample& sample) const {
  const Json& now = sample.stats;
  const std::chrono::duration<double> between = sample.time - before.time;
  const auto rate = [&](const char* pointer) {
    return std::max(0.0, NumberAt(now, pointer) - NumberAt(before.stats, pointer)) /
           between.count();
  };
  const auto size = [](double bytes) { return FormatSize(static_cast<uint64_t>(bytes)); };
  const auto bytes_at = [&](const char* pointer) { return size(NumberAt(now, pointer)); };
  std::string page = "xzfs " + Printable(path_) + ", mounted for " +
                     FormatDuration(NumberAt(now, "/uptime_seconds")) + "\n\n";
  const double hits = rate("/cache/hits");
  const double misses = rate("/cache/misses");
  page +=
      fmt::format("reading      {:>10.0f} reads/s   {:>10}/s   decoding {:>10}/s\n",
                  rate("/reads/count"), size(rate("/served_bytes")), size(rate("/decoded_bytes")));
  page += fmt::format("cache        {:>9.1f} % hits     {:>10} of {} used\n",
                      hits + misses > 0 ? 100 * hits / (hits + misses) : 0.0,
                      bytes_at("/budget/used_bytes"), bytes_at("/budget/total_bytes"));
  page += fmt::format("compressing  {:>10.0f} waiting   {:>10}     done {} -> {}\n",
                      NumberAt(now, "/commits/pending"), bytes_at("/commits/pending_bytes"),
                      bytes_at("/commits/plain_bytes"), bytes_at("/commits/compressed_bytes"));
  page += fmt::format(
      "encoding     {:>10.1f} Blocks/s  failed {:.0f}   given up {:.0f}   damaged Blocks {:.0f}\n",
      rate("/commits/blocks_encoded"), NumberAt(now, "/commits/failed"),
      NumberAt(now, "/commits/given_up"), NumberAt(now, "/damaged/blocks"));
  if (now.contains("cold")) {
    page +=
        fmt::format("cold         {:>10.0f} files     {:>10} not yet cold, {:.0f} don't shrink\n",
                    NumberAt(now, "/cold/compressed/files"), bytes_at("/cold/waiting/plain_bytes"),
                    NumberAt(now, "/cold/unshrinkable/files"));
  }
  page += HistoryText(sample.history, console.columns());
  return page;
}

}  // namespace

std::unique_ptr<Command> MakeTopCommand() { return std::make_unique<TopCommand>(); }

}  // namespace xzfs
