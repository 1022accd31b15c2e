// One run of a command that replaces files by other forms of themselves.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/os.h"
#include "ctl/replace/file_batch.h"
#include "ctl/replace/replace_job.h"
#include "ctl/replace/tally.h"
#include "ctl/replace/tree.h"
#include "ctl/replace/work_place.h"
#include "ctl/shell/arguments.h"
#include "ctl/shell/console.h"
#include "ctl/shell/json.h"
#include "ctl/shell/progress.h"

namespace xzfs {

// Which files are replaced, and how much is reported: the same for all such commands.
struct ReplaceOptions {
  TreeRules rules;
  bool verbose = false;
  bool json = false;
  std::string progress = "auto";
  std::vector<std::string> paths;

  // `placeholder` and `help` describe the paths.
  void Declare(Arguments& arguments, const std::string& placeholder, const std::string& help);
};

// What becomes of a file with several names.
enum class Links {
  kEach,      // one job for each name
  kTogether,  // one for all names; the file is skipped if some were not found
};

// Construct it before any other thread, like Progress. Not thread-safe.
class ReplaceRun {
 public:
  // Why a file is skipped without reading it; "": it isn't skipped.
  using Leave = std::function<std::string(const FoundFile&)>;
  // Makes a job for a file, which has all these names.
  using Make = std::function<std::unique_ptr<FileJob>(std::vector<FoundFile>)>;

  // Both outlive it.
  ReplaceRun(Console& console, const ReplaceOptions& options, Makes makes);

  // For the jobs. Valid as long as this object.
  ReplaceContext context() { return {os_, places_, tally_, progress_}; }

  // Walks over the paths and does a job of `make` for each file, on this many threads. Removes what
  // dead runs left. Then prints a summary that begins with `done`, such as "packed", or with --json
  // `document` with what was done. Blocks.
  void Replace(unsigned threads, Links links, const Leave& leave, const Make& make,
               const std::string& done, Json document);

 private:
  void AddFiles(FileBatch& batch, Links links, const Leave& leave, const Make& make);

  Console& console_;
  const ReplaceOptions& options_;
  Os& os_ = Os::Real();
  Progress progress_;
  Tally tally_;
  WorkPlaces places_;
};

}  // namespace xzfs
