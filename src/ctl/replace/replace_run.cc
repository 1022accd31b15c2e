#include "ctl/replace/replace_run.h"

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/machine.h"
#include "ctl/replace/link_groups.h"
#include "store/session.h"

namespace xzfs {
namespace {

EachFile EachFileOf(const ReplaceOptions& options) {
  if (!options.verbose) {
    return EachFile::kSilent;
  }
  return options.json ? EachFile::kInDocument : EachFile::kNoted;
}

}  // namespace

void ReplaceOptions::Declare(Arguments& arguments, const std::string& placeholder,
                             const std::string& help) {
  rules.Declare(arguments);
  rules.only_stored_for = arguments.command();
  arguments.Flag("-v,--verbose", verbose, "print a line for each file");
  arguments.Flag("--json", json, "machine-readable, sizes in bytes; with -v all files");
  Progress::Declare(arguments, progress);
  arguments.Operands(placeholder, paths, help);
}

ReplaceRun::ReplaceRun(Console& console, const ReplaceOptions& options, Makes makes)
    : console_(console),
      options_(options),
      progress_(console, Progress::ModeOf(options.progress), makes),
      tally_(console, EachFileOf(options)),
      places_(os_) {
  RaiseDescriptorLimit();
}

void ReplaceRun::Replace(unsigned threads, Links links, const Leave& leave, const Make& make,
                         const std::string& done, Json document) {
  {
    FileBatch batch(os_, threads);
    AddFiles(batch, links, leave, make);
  }
  if (options_.json) {
    tally_.AddTo(document);
    document["interrupted"] = progress_.cancelled().load();
    PrintDocument(console_, std::move(document));
  } else {
    console_.Note(tally_.Summary(done));
  }
  console_.EndBySignal(progress_.signal());
}

void ReplaceRun::AddFiles(FileBatch& batch, Links links, const Leave& leave, const Make& make) {
  LinkGroups groups(os_);
  const auto add = [&](std::vector<FoundFile> names) {
    progress_.AddTotal(1, static_cast<uint64_t>(names.front().attributes.st_size));
    batch.Add(make(std::move(names)));
  };
  WalkTrees(
      os_, options_.rules, options_.paths, progress_.cancelled(),
      [&](FoundFile file) {
        if (const std::string reason = leave(file); !reason.empty()) {
          tally_.AddSkipped(file, reason);
        } else if (links == Links::kEach || file.attributes.st_nlink == 1) {
          add({std::move(file)});
        } else {
          const std::string path = file.path();
          const bool is_named = file.is_named;
          Result<std::vector<FoundFile>> names = groups.Add(std::move(file));
          if (!names && names.error().code == ENOENT) {
            tally_.AddSkipped(path, is_named, "changed during the run");
          } else if (!names) {
            console_.FileError(path, names.error().message);
          } else if (!names->empty()) {
            add(std::move(*names));
          }
        }
      },
      [&](const std::string& path, const Error& error) { console_.FileError(path, error.message); },
      [&](const OpenDir& dir) { static_cast<void>(Session::RemoveDeadTemps(os_, dir.fd())); });
  groups.ForEachLeft([&](const std::string& path, bool is_named) {
    tally_.AddSkipped(path, is_named, "has hard links that were not found");
  });
  progress_.TotalIsComplete();
}

}  // namespace xzfs
