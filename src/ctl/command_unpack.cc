// Which files are unpacked; how one is, is in unpack_job.cc.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "ctl/commands.h"
#include "ctl/encoding.h"
#include "ctl/unpack_job.h"

namespace xzfs {
namespace {

class UnpackCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Flag("-k,--keep", keep_, "keep the compressed files, too");
    DeclareThreads(arguments, threads_);
    rules_.Declare(arguments);
    arguments.Flag("-v,--verbose", verbose_, "print a line for each file");
    Progress::Declare(arguments, progress_);
    arguments.Operands("PATH", paths_, "compressed files, and directories with all in them");
  }

  Status Run(Console& console) override {
    Os& os = Os::Real();
    RaiseDescriptorLimit();
    const unsigned threads = threads_ == 0 ? UsableProcessors() : threads_;
    Progress progress(console, Progress::ModeOf(progress_));
    Tally tally(console, verbose_);
    WorkPlaces places(os);
    WorkerPool decoders(threads, threads);
    decoders.Start();
    const UnpackContext context{.base = {os, places, tally, progress},
                                .decoders = decoders,
                                .threads = threads,
                                .keep = keep_};
    {
      FileBatch batch(os, threads);
      AddFiles(
          context.base, console, rules_, paths_, batch, Links::kTogether,
          [](const FoundFile&) { return ""; },
          [&](auto names) { return std::make_unique<UnpackJob>(context, std::move(names)); });
    }
    console.Note(tally.Summary("unpacked"));
    console.EndBySignal(progress.signal());
    return {};
  }

 private:
  TreeRules rules_;
  bool keep_ = false;
  bool verbose_ = false;
  unsigned threads_ = 0;
  std::string progress_ = "auto";
  std::vector<std::string> paths_;
};

}  // namespace

std::unique_ptr<Command> MakeUnpackCommand() { return std::make_unique<UnpackCommand>(); }

}  // namespace xzfs
