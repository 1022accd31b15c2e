// Decides which files are unpacked; unpack_job.cc unpacks one.
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/machine.h"
#include "ctl/commands/commands.h"
#include "ctl/replace/encoding.h"
#include "ctl/replace/replace_run.h"
#include "ctl/replace/unpack_job.h"

namespace xzfs {
namespace {

class UnpackCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("-k,--keep", keep_, "keep the compressed files, too");
    DeclareThreads(arguments, threads_);
    files_.Declare(arguments, "PATH", "compressed files, and directories with all in them");
  }

  Status Run(Console& console) override {
    const unsigned threads = threads_ == 0 ? UsableProcessors() : threads_;
    ReplaceRun run(console, files_, Makes::kPlain);
    WorkerPool decoders(threads, threads);
    decoders.Start();
    const UnpackContext context{
        .base = run.context(), .decoders = decoders, .threads = threads, .keep = keep_};
    run.Replace(
        threads, Links::kTogether, [](const FoundFile&) { return ""; },
        [&](auto names) { return std::make_unique<UnpackJob>(context, std::move(names)); },
        "unpacked", NewDocument("unpack"));
    return {};
  }

 private:
  bool keep_ = false;
  unsigned threads_ = 0;
  ReplaceOptions files_;
};

}  // namespace

std::unique_ptr<Command> MakeUnpackCommand() { return std::make_unique<UnpackCommand>(); }

}  // namespace xzfs
