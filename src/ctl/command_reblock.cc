// Compressed files get Blocks that are small enough to be read at any offset, or another preset or
// Check. The content, the name and the metadata stay.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "base/try.h"
#include "cache/xz_reader.h"
#include "ctl/commands.h"
#include "ctl/damage.h"
#include "ctl/encoding.h"
#include "ctl/input.h"
#include "ctl/replace_job.h"
#include "store/kept_times.h"
#include "store/settle_claims.h"
#include "store/xz_writer.h"

namespace xzfs {
namespace {

// What all files of one run share.
struct ReblockContext {
  ReplaceContext base;
  ReadEngine& engine;
  EncodePool& encoders;
  EncodeOptions options;
  bool keeps_check = false;  // each file keeps its own, if it can be written
  bool all = false;          // files that are seekable already, too
};

class ReblockJob : public ReplaceJob {
 public:
  ReblockJob(const ReblockContext& context, std::vector<FoundFile> names)
      : ReplaceJob(context.base, std::move(names)), context_(context) {}

  uint64_t made_bytes() const override { return written_.stored_bytes; }

 private:
  Result<bool> TryMake() override {
    XZFS_RETURN_IF_ERROR(Open(/*lock=*/true));
    stored_ = std::make_shared<StoredFile>(os_, fd(), old_bytes());
    XZFS_ASSIGN_OR_RETURN(const auto compressed, CompressedNameOf(file_.name, *stored_));
    if (!compressed || compressed->format != Format::kXz) {
      return Skip("not .xz");
    }
    if (file_.attributes.st_nlink > 1) {
      return Skip("with several hard links");
    }
    XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
    if (!usable) {
      return false;
    }
    XZFS_ASSIGN_OR_RETURN(const BlockIndex index, ReadIndex(*stored_, Format::kXz));
    request_.options = OptionsFor(index);
    const std::vector<uint8_t> checks = index.Checks();
    const bool same_check = checks == std::vector<uint8_t>{request_.options.check};
    if (index.block_count() == 0 ||
        (!context_.all && same_check && index.largest_block() <= context_.encoders.block_bytes())) {
      return Skip("seekable already");
    }
    return Encode(index);
  }

  EncodeOptions OptionsFor(const BlockIndex& index) const {
    EncodeOptions options = context_.options;
    const std::vector<uint8_t> checks = index.Checks();
    constexpr uint8_t kWritable[] = {0, 1, 4, 10};
    if (context_.keeps_check && checks.size() == 1 &&
        std::find(std::begin(kWritable), std::end(kWritable), checks[0]) != std::end(kWritable)) {
      options.check = checks[0];
    }
    return options;
  }

  Result<bool> Encode(const BlockIndex& index) {
    const XzReader reader(context_.engine, {.identity = Identity::Of(file_.attributes),
                                            .format = Format::kXz,
                                            .plain_size = index.plain_size(),
                                            .stored = stored_,
                                            .name = [this] { return file_.path(); }});
    const BlockNamingFile plain(reader, index);
    request_.plain = &plain;
    request_.cancelled = &progress_.cancelled();
    request_.plan = XzPlan(index.plain_size(), context_.encoders.block_bytes());
    XZFS_RETURN_IF_ERROR(MakeTemp());
    const int out = temp_.file.get();
    XZFS_ASSIGN_OR_RETURN(written_, WriteXz(os_, context_.encoders, request_, out));
    XZFS_RETURN_IF_ERROR(GiveMetadata());
    XZFS_RETURN_IF_ERROR(VerifyXz(os_, context_.encoders, request_, written_, out));
    request_.plain = nullptr;
    progress_.AddDone(0, old_bytes(), written_.stored_bytes);
    return true;
  }

  Status TryClaim() override {
    return AddClaim(Claim::Kind::kAside, file_, session_->NewId() + std::string(kAsideSuffix));
  }

  Result<bool> TryPublish() override {
    XZFS_ASSIGN_OR_RETURN(const bool usable, CheckBase());
    if (!usable) {
      return false;
    }
    // The old form is the temp then, and goes.
    if (const Status swapped = PutAside(file_, claims_.front(), &temp_); swapped) {
      is_swapped_ = true;
      return true;
    } else if (swapped.error().code != EINVAL) {
      return Failure(swapped.error());
    }
    const KeptTimes times(os_, dir_fd());
    if (const int error = os_.Rename(session_->folder(), temp_.name, dir_fd(), file_.name, 0);
        error < 0) {
      return FailErrno(-error, "rename the new form of " + file_.path());
    }
    temp_.name.clear();
    return true;
  }

  Result<bool> TryFinish() override { return true; }

  void Abandon(const Error& error) override {
    ReplaceJob::Abandon(error);
    if (is_swapped_) {  // and perhaps not on the disk: the old form stays
      temp_.name.clear();
      KeepClaims();
    }
  }

  const ReblockContext& context_;
  std::shared_ptr<const RandomAccessFile> stored_;
  XzWriteRequest request_;
  XzWriteResult written_;
  bool is_swapped_ = false;
};

class ReblockCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    encoding_.Declare(arguments);
    arguments.Flag("-f,--force", force_, "also files whose Blocks are small enough");
    rules_.Declare(arguments);
    arguments.Flag("-v,--verbose", verbose_, "print a line for each file");
    Progress::Declare(arguments, progress_);
    arguments.Operands("FILE", paths_, ".xz files, and directories with all in them");
  }

  Status Run(Console& console) override {
    XZFS_RETURN_IF_ERROR(encoding_.Resolve());
    Os& os = Os::Real();
    RaiseDescriptorLimit();
    Progress progress(console, Progress::ModeOf(progress_));
    Tally tally(console, verbose_);
    WorkPlaces places(os);
    ReadEngine engine(DefaultEngineLimits(encoding_.threads));
    engine.Start();
    EncodePool encoders(encoding_.threads, encoding_.block_bytes, EncodePool::Priority::kNormal);
    encoders.Start();
    const ReblockContext context{
        .base = {os, places, tally, progress},
        .engine = engine,
        .encoders = encoders,
        .options = encoding_.encode(),
        .keeps_check = encoding_.check.empty(),
        .all = force_ || encoding_.preset != EncodingOptions::kNoPreset || encoding_.extreme};
    {
      FileBatch batch(os, encoding_.threads);
      AddFiles(
          context.base, console, rules_, paths_, batch, Links::kEach,
          [](const FoundFile&) { return ""; },
          [&](auto names) { return std::make_unique<ReblockJob>(context, std::move(names)); });
    }
    console.Note(tally.Summary("reblocked"));
    console.EndBySignal(progress.signal());
    return {};
  }

 private:
  EncodingOptions encoding_;
  TreeRules rules_;
  bool force_ = false;
  bool verbose_ = false;
  std::string progress_ = "auto";
  std::vector<std::string> paths_;
};

}  // namespace

std::unique_ptr<Command> MakeReblockCommand() { return std::make_unique<ReblockCommand>(); }

}  // namespace xzfs
