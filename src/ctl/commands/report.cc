// Writes one page that shows where the space is and what to do about it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/try.h"
#include "base/unique_fd.h"
#include "ctl/commands/commands.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/report/report_page.h"
#include "ctl/report/report_place.h"
#include "ctl/report/report_tree.h"
#include "ctl/report/scan_progress.h"
#include "store/atomic_file.h"

namespace xzfs {
namespace {

Status WriteAll(int fd, const std::string& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = write(fd, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) {
      continue;
    }
    if (wrote <= 0) {
      return FailErrno(errno, path);
    }
    text.remove_prefix(static_cast<size_t>(wrote));
  }
  return {};
}

// The file that has the page's name now.
struct OldOutput {
  bool is_regular = false;
  bool is_replaceable = false;  // a page of ours, which may be made again, or empty
};

Result<std::optional<OldOutput>> LookAt(const std::string& path) {
  OldOutput old;
  struct stat st = {};
  if (stat(path.c_str(), &st) != 0) {
    return errno == ENOENT ? Result<std::optional<OldOutput>>(std::nullopt)
                           : Result<std::optional<OldOutput>>(FailErrno(errno, path));
  }
  old.is_regular = S_ISREG(st.st_mode);
  if (old.is_regular) {
    const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string beginning(kReportBeginning.size(), '\0');
    old.is_replaceable = st.st_size == 0 || (pread(file.get(), beginning.data(), beginning.size(),
                                                   0) == static_cast<ssize_t>(beginning.size()) &&
                                             beginning == kReportBeginning);
  }
  return old;
}

class ReportCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Text("-o,--output", "FILE", output_, "the page (default: report.html; -: stdout)");
    arguments.Flag("-f,--force", force_, "overwrite FILE even if it is not an xzfs report");
    Progress::Declare(arguments, progress_);
    arguments.Operand("PATH", path_, "a directory of .xz files, or one in a mount");
  }

  Status Run(Console& console) override {
    XZFS_RETURN_IF_ERROR(CheckOutput());
    const auto mount = MountClient::Open(path_);
    if (!mount && (mount.error().code == ENOTCONN || mount.error().code == EACCES)) {
      return Failure(mount.error());
    }
    XZFS_ASSIGN_OR_RETURN(const ReportTree tree, Scan(console));
    std::optional<MountReport> told;
    if (mount) {
      XZFS_ASSIGN_OR_RETURN(Json stats, mount->Stats());
      XZFS_ASSIGN_OR_RETURN(const Json history, mount->History());
      told = MountReport{std::move(stats), MomentsOf(history)};
    }
    const std::string page = ReportPage(PlaceOf(path_), tree, told ? &*told : nullptr);
    if (output_ == "-") {
      console.Print(page);
      return {};
    }
    return WritePage(page);
  }

 private:
  Result<ReportTree> Scan(Console& console) const {
    ScanProgress progress(console, Progress::ModeOf(progress_));
    XZFS_ASSIGN_OR_RETURN(ReportTree tree, ScanTree(Os::Real(), path_, console, progress));
    EstimateRatios(tree, progress);
    return tree;
  }

  // Before the work is done.
  Status CheckOutput() {
    if (output_ == "-") {
      return {};
    }
    XZFS_ASSIGN_OR_RETURN(old_, LookAt(output_));
    if (old_ && old_->is_regular && !old_->is_replaceable && !force_) {
      return Fail(EEXIST, output_ +
                              " exists and is no page of xzfsctl report: name another file with "
                              "-o, or replace it with --force");
    }
    return {};
  }

  Status WritePage(const std::string& page) const {
    if (old_ && !old_->is_regular) {  // a device, or a pipe
      const UniqueFd file(open(output_.c_str(), O_WRONLY | O_CLOEXEC));
      return file.valid() ? WriteAll(file.get(), output_, page) : Status(FailErrno(errno, output_));
    }
    XZFS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(output_));
    XZFS_RETURN_IF_ERROR(WriteAll(file.fd(), output_, page));
    return file.Publish({.replaces = old_ || force_});
  }

  bool force_ = false;
  std::optional<OldOutput> old_;
  std::string output_ = "report.html";
  std::string path_;
  std::string progress_ = "auto";
};

}  // namespace

std::unique_ptr<Command> MakeReportCommand() { return std::make_unique<ReportCommand>(); }

}  // namespace xzfs
