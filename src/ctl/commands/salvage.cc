// Writes what can still be read of a damaged .xz file into another file. The work is done by
// ctl/files/salvage.h; this file decides about the output and tells what came of it.
//
// The output is checked before anything is read: it has a name, is not the damaged file itself, and
// replaces nothing without --force. It is written under a temporary name, and its mode allows
// nobody more than the damaged file's does. It gets its name only if something was salvaged, or if
// the file is whole and empty. In all other cases, an error or a signal, it is removed and OUT
// stays what it was.
//
// Each missing part is a warning, so a file that could be saved in part gives exit code 2.
#include "ctl/files/salvage.h"

#include <sys/stat.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "base/try.h"
#include "base/units.h"
#include "ctl/commands/commands.h"
#include "ctl/files/block_pass.h"
#include "ctl/files/input.h"
#include "ctl/shell/json.h"
#include "ctl/shell/progress.h"
#include "store/atomic_file.h"
#include "xz/block_name.h"

namespace xzfs {
namespace {

// 6 million Blocks.
constexpr uint64_t kIndexBytes = uint64_t{256} << 20;

std::string Described(const MissingPart& part) {
  std::optional<uint64_t> end;
  if (part.plain_size) {
    end = part.plain_begin + *part.plain_size;
  }
  const std::string place = NameOfPlace(part.plain_begin, end, part.stored_begin);
  std::string text =
      (part.block ? "Block " + std::to_string(*part.block) + " (" + place + ")" : place) + ": " +
      part.why;
  if (part.kept_bytes > 0) {
    text += "; the first " + std::to_string(part.kept_bytes) + " bytes are kept, not verified";
  }
  return text;
}

class SalvageCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Text("-o,--output", "OUT", output_, "the file to write; required");
    arguments.Flag("--partial", options_.keeps_partial,
                   "keep the beginning of damaged Blocks, unverified");
    arguments.Flag("-f,--force", force_, "replace OUT if it exists");
    arguments.Flag("--json", json_, "machine-readable");
    Progress::Declare(arguments, progress_);
    arguments.Operand("FILE", file_, "a damaged or truncated .xz file");
  }

  Status Run(Console& console) override {
    XZFS_ASSIGN_OR_RETURN(Input input, OpenInput(Os::Real(), file_));
    XZFS_RETURN_IF_ERROR(CheckOutput(input));
    XZFS_ASSIGN_OR_RETURN(AtomicFile output, AtomicFile::Create(output_));
    XZFS_RETURN_IF_ERROR(LimitMode(input, output));
    Progress progress(console, Progress::ModeOf(progress_));
    progress.AddTotal(1, input.stored->size());
    progress.TotalIsComplete();
    const CountedFile from(std::move(input.stored), progress);
    options_.decoder_bytes = kDecoderBytes;
    options_.index_bytes = kIndexBytes;
    Result<SalvageReport> report = Salvage(from, output.fd(), options_, progress.cancelled()).Run();
    console.EndBySignal(progress.signal());
    if (!report) {
      return Fail(report.error().code, output_ + ": " + report.error().message);
    }
    const bool is_empty = report->missing.empty() && report->plain_bytes == 0;
    const bool is_of_use = is_empty || report->plain_bytes + report->kept_bytes > 0;
    if (is_of_use) {
      XZFS_RETURN_IF_ERROR(output.Publish({.replaces = force_}));
    }
    Tell(console, *report);
    return is_of_use ? Status()
                     : Status(Fail(EIO, file_ + ": nothing can be salvaged; " + output_ +
                                            " was not written"));
  }

 private:
  Status CheckOutput(const Input& input) const {
    if (output_.empty()) {
      return Fail(EINVAL, "name the file to write: -o OUT");
    }
    if (output_ == "-") {
      return Fail(
          EINVAL,
          "-o -: the output can't be stdout, because some parts of it are written later; name a "
          "file (./- if that is its name)");
    }
    struct stat st = {};
    if (stat(output_.c_str(), &st) == 0 && st.st_dev == input.attributes.st_dev &&
        st.st_ino == input.attributes.st_ino) {
      return Fail(EINVAL, output_ + " is the damaged file itself: name another file with -o");
    }
    if (!force_ && lstat(output_.c_str(), &st) == 0) {
      return Fail(EEXIST, output_ + " exists: name another file, or replace it with --force");
    }
    return {};
  }

  // A user who may not read the damaged file may not read what was salvaged from it.
  static Status LimitMode(const Input& input, const AtomicFile& output) {
    struct stat st = {};
    int error = Os::Real().FStat(output.fd(), &st);
    if (error == 0) {
      error = Os::Real().FChangeMode(output.fd(), st.st_mode & input.attributes.st_mode & 0777);
    }
    return error < 0 ? Status(FailErrno(-error, "set the mode of the output")) : Status();
  }

  void Tell(Console& console, const SalvageReport& report) const {
    for (const MissingPart& part : report.missing) {
      console.Warn(file_ + ": " + Described(part));
    }
    if (json_) {
      PrintDocument(console, Document(report));
      return;
    }
    if (!report.index_error.empty()) {
      console.Note(file_ + ": the Index can't be used (" + report.index_error +
                   "), so the whole file was searched for Blocks");
    }
    if (report.placed_bytes < report.output_bytes) {
      console.Note(file_ + ": data after byte " + std::to_string(report.placed_bytes) +
                   " is nearer to the start than it was, by an unknown distance");
    }
    console.Note(file_ + ": salvaged " + Counted(report.blocks, "Block") + ", " +
                 FormatSize(report.plain_bytes) +
                 (report.missing.empty() ? "; nothing is missing"
                                         : "; missing: " + Counted(report.missing.size(), "part")) +
                 (report.unchecked_blocks == 0
                      ? ""
                      : "; without a Check: " + Counted(report.unchecked_blocks, "Block")));
  }

  Json Document(const SalvageReport& report) const {
    Json json = NewDocument("salvage");
    PutPath(json, file_);
    json["complete"] = report.missing.empty();
    json["index_error"] = report.index_error.empty() ? Json(nullptr) : Json(report.index_error);
    json["blocks"] = report.blocks;
    json["blocks_without_check"] = report.unchecked_blocks;
    json["plain_bytes"] = report.plain_bytes;
    json["unverified_bytes"] = report.kept_bytes;
    json["output_bytes"] = report.output_bytes;
    json["offsets_known_to"] = report.placed_bytes;
    json["missing"] = Json::array();
    for (const MissingPart& part : report.missing) {
      Json entry;
      entry["block"] = part.block ? Json(*part.block) : Json(nullptr);
      entry["compressed_begin"] = part.stored_begin;
      entry["compressed_end"] = part.stored_end;
      entry["plain_begin"] = part.plain_begin;
      entry["plain_end"] =
          part.plain_size ? Json(part.plain_begin + *part.plain_size) : Json(nullptr);
      entry["unverified_bytes"] = part.kept_bytes;
      entry["message"] = part.why;
      json["missing"].push_back(std::move(entry));
    }
    return json;
  }

  Salvage::Options options_;
  bool force_ = false;
  bool json_ = false;
  std::string output_;
  std::string progress_ = "auto";
  std::string file_;
};

}  // namespace

std::unique_ptr<Command> MakeSalvageCommand() { return std::make_unique<SalvageCommand>(); }

}  // namespace xzfs
