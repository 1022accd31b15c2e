// Gives compressed files Blocks that are small enough to be read at any offset, or another preset
// or Check; reblock_job.cc does it for one file.
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/try.h"
#include "ctl/commands/commands.h"
#include "ctl/files/input.h"
#include "ctl/replace/encoding.h"
#include "ctl/replace/reblock_job.h"
#include "ctl/replace/replace_run.h"

namespace xzfs {
namespace {

class ReblockCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    encoding_.Declare(arguments);
    arguments.Flag("-f,--force", force_, "also files whose Blocks are small enough");
    files_.Declare(arguments, "FILE", ".xz files, and directories with all in them");
  }

  Status Run(Console& console) override {
    XZFS_RETURN_IF_ERROR(encoding_.Resolve());
    ReplaceRun run(console, files_, Makes::kSame);
    ReadEngine engine(DefaultEngineLimits(encoding_.threads));
    engine.Start();
    EncodePool encoders(encoding_.threads, encoding_.block_bytes, EncodePool::Priority::kNormal);
    encoders.Start();
    const ReblockContext context{
        .base = run.context(),
        .engine = engine,
        .encoders = encoders,
        .options = encoding_.encode(),
        .keeps_check = encoding_.check.empty(),
        .all = force_ || encoding_.preset != EncodingOptions::kNoPreset || encoding_.extreme};
    run.Replace(
        encoding_.threads, Links::kEach, [](const FoundFile&) { return ""; },
        [&](auto names) { return std::make_unique<ReblockJob>(context, std::move(names)); },
        "reblocked", NewDocument("reblock"));
    return {};
  }

 private:
  EncodingOptions encoding_;
  bool force_ = false;
  ReplaceOptions files_;
};

}  // namespace

std::unique_ptr<Command> MakeReblockCommand() { return std::make_unique<ReblockCommand>(); }

}  // namespace xzfs
