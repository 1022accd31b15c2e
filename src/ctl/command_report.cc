// One page that shows where the space is and what to do about it.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "ctl/commands.h"
#include "ctl/mount_client.h"
#include "ctl/report_page.h"
#include "ctl/report_tree.h"

namespace xzfs {
namespace {

std::string Now() {
  const time_t now = time(nullptr);
  struct tm parts = {};
  localtime_r(&now, &parts);
  char text[64];
  return std::string(text, strftime(text, sizeof text, "%F %H:%M", &parts));
}

Status WriteFile(const std::string& path, std::string_view text) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  while (file.valid() && !text.empty()) {
    const ssize_t wrote = write(file.get(), text.data(), text.size());
    if (wrote < 0 && errno == EINTR) {
      continue;
    }
    if (wrote <= 0) {
      return FailErrno(errno, path);
    }
    text.remove_prefix(static_cast<size_t>(wrote));
  }
  return file.valid() ? Status() : Status(FailErrno(errno, path));
}

class ReportCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Text("-o,--output", "FILE", output_, "the page (default: report.html; -: stdout)");
    arguments.Operand("PATH", path_, "a directory of .xz files, or one in a mount");
  }

  Status Run(Console& console) override {
    const auto mount = MountClient::Open(path_);
    if (!mount && mount.error().code == ENOTCONN) {
      return tl::unexpected(mount.error());
    }
    XZFS_ASSIGN_OR_RETURN(ReportTree tree, ScanTree(Os::Real(), path_, console));
    EstimateRatios(tree);
    std::optional<MountReport> told;
    if (mount) {
      XZFS_ASSIGN_OR_RETURN(Json stats, mount->Stats());
      XZFS_ASSIGN_OR_RETURN(const Json history, mount->History());
      told = MountReport{std::move(stats), MomentsOf(history)};
    }
    const std::string page = ReportPage(path_, tree, told ? &*told : nullptr, Now());
    if (output_ == "-") {
      console.Print(page);
      return {};
    }
    return WriteFile(output_, page);
  }

 private:
  std::string output_ = "report.html";
  std::string path_;
};

}  // namespace

std::unique_ptr<Command> MakeReportCommand() { return std::make_unique<ReportCommand>(); }

}  // namespace xzfs
