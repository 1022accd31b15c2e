// Decides which files are packed; pack_job.cc packs one.
#include <time.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "base/os.h"
#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/replace/pack_job.h"
#include "ctl/replace/replace_run.h"
#include "store/known_files.h"

namespace xzfs {
namespace {

// Only pairs are looked at: a handful of files at a time.
constexpr size_t kKnownFilesBytes = size_t{64} << 10;

class PackCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    encoding_.Declare(arguments);
    arguments.Flag("-k,--keep", keep_,
                   "keep the plain files, too (a mount of the folder shows both)");
    arguments.Flag("-n,--dry-run", dry_run_,
                   "change nothing; estimate from samples what it would save");
    arguments.Duration("--older-than", older_than_, "only files not modified for this long");
    arguments.Duration("--not-read-for", not_read_for_, "only files not read for this long");
    arguments.Size("--min-size", min_size_, "leave smaller files plain (default: 1)");
    arguments.Percent("--min-saving", min_saving_,
                      "leave files plain that would not shrink by this much (default: 1)");
    arguments.Flag("--all", all_, "pack what would not shrink, too: as --min-saving 0");
    files_.Declare(arguments, "PATH", "files, and directories with all in them");
  }

  Status Run(Console& console) override {
    XZFS_RETURN_IF_ERROR(encoding_.Resolve());
    ReplaceRun run(console, files_, Makes::kCompressed);
    Json document = NewDocument("pack");
    document["dry_run"] = dry_run_;
    KnownFiles known(kKnownFilesBytes);
    SourceDir names(Os::Real(), known);
    EncodePool encoders(encoding_.threads, encoding_.block_bytes, EncodePool::Priority::kNormal);
    encoders.Start();
    const PackContext context{.base = run.context(),
                              .encoders = encoders,
                              .names = names,
                              .options = encoding_.encode(),
                              .saving = SavingRule(all_ ? 0 : min_saving_ / 100),
                              .keep = keep_,
                              .dry_run = dry_run_};
    run.Replace(
        encoding_.threads, Links::kTogether,
        [&](const FoundFile& file) { return ReasonToLeave(file); },
        [&](auto files) { return std::make_unique<PackJob>(context, std::move(files)); },
        dry_run_ ? "would pack about" : "packed", std::move(document));
    return {};
  }

 private:
  // Why the file is left, if that is known without reading it; empty: it isn't left.
  std::string ReasonToLeave(const FoundFile& file) const {
    const struct stat& st = file.attributes;
    if (static_cast<uint64_t>(st.st_size) < min_size_) {
      return st.st_size == 0 ? "empty" : "smaller than --min-size";
    }
    if ((st.st_mode & (S_ISUID | S_ISGID)) != 0) {
      return "set-id";
    }
    if (older_than_ && Since(st.st_mtim) < *older_than_) {
      return "modified recently";
    }
    if (not_read_for_ && Since(st.st_atim) < *not_read_for_) {
      return "read recently";
    }
    return "";
  }

  // Seconds.
  double Since(const struct timespec& then) const {
    return static_cast<double>(now_.tv_sec - then.tv_sec) +
           static_cast<double>(now_.tv_nsec - then.tv_nsec) * 1e-9;
  }

  static struct timespec Now() {
    struct timespec now = {};
    clock_gettime(CLOCK_REALTIME, &now);
    return now;
  }

  const struct timespec now_ = Now();
  EncodingOptions encoding_;
  bool keep_ = false;
  bool dry_run_ = false;
  std::optional<double> older_than_;
  std::optional<double> not_read_for_;
  uint64_t min_size_ = 1;
  double min_saving_ = 100 * SavingRule::kDefaultLeast;
  bool all_ = false;
  ReplaceOptions files_;
};

}  // namespace

std::unique_ptr<Command> MakePackCommand() { return std::make_unique<PackCommand>(); }

}  // namespace xzfs
