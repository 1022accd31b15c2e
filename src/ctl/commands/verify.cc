// Decodes every Block of every file and verifies its Check.
//
// First the walk collects paths: all files that are named, and those in trees whose name and first
// bytes say that they are compressed. So the progress knows the total from the start. Then small
// files are verified several at a time, a thread each; after that the large ones, one after the
// other, with several of their Blocks at a time. No file is held open before its turn.
//
// Each file ends in one of three ways. Damage is what decoding calls damage (`IsDamage`). Any other
// error, such as a lack of memory, says nothing about the file: it was not checked. Else it is
// counted. VerifyFindings prints each finding at once and keeps it for the report, where all are
// sorted, as they come from several threads. After a signal the file at hand is not counted: what
// was not reached is neither good nor damaged.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "base/mutex.h"
#include "base/parallel_for.h"
#include "base/units.h"
#include "ctl/commands/commands.h"
#include "ctl/files/block_pass.h"
#include "ctl/files/damage.h"
#include "ctl/files/input.h"
#include "ctl/mounts/mount_client.h"
#include "ctl/replace/encoding.h"
#include "ctl/replace/tree.h"
#include "ctl/shell/json.h"
#include "ctl/shell/progress.h"
#include "store/names.h"
#include "xz/block_decoder.h"
#include "xz/block_name.h"

namespace xzfs {
namespace {

// Files up to this size are verified several at a time, with a thread each. Of a larger file,
// several Blocks are verified at a time.
constexpr int64_t kSmallBytes = int64_t{4} << 20;

// One damage of one file. Ranges are of the logical file.
struct Damage {
  std::string path;
  bool has_block = false;  // else it is the Index
  BlockInfo block = {};
  std::string why;
};

// What was found in all files. Prints each finding at once, and a report at the end. Thread-safe.
class VerifyFindings {
 public:
  explicit VerifyFindings(Console& console) : console_(console) {}

  static std::string Described(const Damage& damage) {
    return damage.has_block ? damage.path + ": " + NameOf(damage.block) + ": " + damage.why
                            : damage.why;
  }

  void Add(Damage damage) EXCLUDES(mutex_) {
    console_.Error(Described(damage));
    MutexLock lock(mutex_);
    damages_.push_back(std::move(damage));
  }

  // It isn't known that this is damage, so the user is only warned.
  void Doubt(const std::string& path, const std::string& why) {
    console_.FileWarning(path, why);
    ++not_checked_;
  }

  // `error` names the path.
  void Leave(const std::string& path, const Error& error) {
    console_.FileError(path, error.message);
    ++not_checked_;
  }

  // Counts a file all of whose Blocks were decoded. `is_told`: all are good, and a note says so.
  void Count(const std::string& path, const BlockIndex& index, bool is_told) EXCLUDES(mutex_) {
    const std::vector<Check> checks = index.Checks();
    const bool checked = std::all_of(checks.begin(), checks.end(), [](Check check) {
      return check != Check::kNone && IsCheckSupported(check);
    });
    if (is_told) {
      console_.Note(path + ": " + Counted(index.block_count(), "good Block") +
                    (checked ? "" : ", but without a Check that proves it"));
    }
    MutexLock lock(mutex_);
    ++files_;
    blocks_ += index.block_count();
    plain_bytes_ += index.plain_size();
    unchecked_ += checked ? 0 : 1;
  }

  // `ended_early`: the report covers only what was reached.
  void Report(bool as_json, bool ended_early) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    std::sort(damages_.begin(), damages_.end(), [](const Damage& a, const Damage& b) {
      return std::pair(a.path, a.block.number) < std::pair(b.path, b.block.number);
    });
    const bool is_nothing = files_ == 0 && damages_.empty() && not_checked_ == 0 && !ended_early;
    if (is_nothing) {
      console_.Warn("nothing was verified: there are no compressed files there");
    }
    if (as_json) {
      PrintDocument(console_, Document(ended_early));
    } else if (!is_nothing) {
      console_.Note(Outcome(ended_early));
    }
  }

 private:
  std::string Outcome(bool ended_early) const REQUIRES(mutex_) {
    return Summary(not_checked_ == 0 && !ended_early) +
           (not_checked_ == 0 ? ""
                              : "; " + std::to_string(not_checked_) + " could not be checked") +
           (unchecked_ == 0 ? ""
                            : "; " + Counted(unchecked_, "file") +
                                  (unchecked_ == 1 ? " has" : " have") + " no Check") +
           (ended_early ? "; interrupted" : "");
  }

  // `is_whole`: all that was to be checked was checked.
  std::string Summary(bool is_whole) const REQUIRES(mutex_) {
    if (files_ == 0 && damages_.empty()) {
      return "nothing was verified";
    }
    return "verified " + Counted(files_, "file") + ", " + Counted(blocks_, "Block") + ", " +
           FormatSize(plain_bytes_) + ": " +
           (damages_.empty() ? (is_whole ? "all good" : "no damage")
                             : std::to_string(damages_.size()) + " damaged");
  }

  Json Document(bool ended_early) const REQUIRES(mutex_) {
    Json json = NewDocument("verify");
    json["files"] = files_;
    json["blocks"] = blocks_;
    json["plain_bytes"] = plain_bytes_;
    json["files_without_check"] = unchecked_;
    json["interrupted"] = ended_early;
    json["damaged"] = Json::array();
    for (const Damage& damage : damages_) {
      Json entry;
      PutPath(entry, damage.path);
      entry["block"] = damage.has_block ? Json(damage.block.number) : Json(nullptr);
      if (damage.has_block) {
        entry["plain_begin"] = damage.block.plain_offset;
        entry["plain_end"] = damage.block.plain_offset + damage.block.plain_size;
      }
      entry["message"] = damage.why;
      json["damaged"].push_back(std::move(entry));
    }
    return json;
  }

  Console& console_;
  Mutex mutex_;
  std::vector<Damage> damages_ GUARDED_BY(mutex_);
  std::atomic<uint64_t> not_checked_{0};   // guards nothing; the console has their names
  uint64_t files_ GUARDED_BY(mutex_) = 0;  // those with an Index
  uint64_t blocks_ GUARDED_BY(mutex_) = 0;
  uint64_t plain_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t unchecked_ GUARDED_BY(mutex_) = 0;
};

class VerifyCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    rules_.Declare(arguments);
    DeclareThreads(arguments, threads_);
    arguments.Flag("-v,--verbose", verbose_, "print a line for each file");
    arguments.Flag("--json", json_, "machine-readable");
    Progress::Declare(arguments, progress_);
    arguments.Operands("PATH", paths_, "compressed files, and directories with all in them");
  }

  Status Run(Console& console) override {
    threads_ = threads_ == 0 ? UsableProcessors() : threads_;
    VerifyFindings findings(console);
    Progress progress(console, Progress::ModeOf(progress_));
    std::vector<std::string> small;
    std::vector<std::string> large;
    WalkTrees(
        Os::Real(), rules_, paths_, progress.cancelled(),
        [&](const FoundFile& file) {
          if (file.is_named || IsCompressed(findings, file)) {
            (file.attributes.st_size <= kSmallBytes ? small : large).push_back(file.path());
            progress.AddTotal(1, static_cast<uint64_t>(file.attributes.st_size));
          }
        },
        [&](const std::string& path, const Error& error) { findings.Leave(path, error); });
    progress.TotalIsComplete();
    WorkerPool pool(threads_, threads_);
    pool.Start();
    ParallelFor(
        pool, threads_ - 1, small.size(),
        [&](size_t i) { Verify(findings, progress, nullptr, small[i]); }, /*group=*/1);
    for (const std::string& path : large) {
      Verify(findings, progress, &pool, path);
    }
    console.EndBySignal(progress.signal());
    findings.Report(json_, progress.cancelled());
    return {};
  }

 private:
  // By its name, or as the mount says. If the content isn't what the name says, the user is warned:
  // damaged first bytes make a file look so.
  static bool IsCompressed(VerifyFindings& findings, const FoundFile& file) {
    if (file.dir->in_mount) {
      const std::optional<Json> info = FileInfo(file.path());
      const std::string state = info ? info->value("state", "") : "";
      return state == "compressed" || state == "edited";
    }
    if (!StripSuffix(file.name)) {
      return false;
    }
    const Result<Input> input = OpenInput(Os::Real(), file.path());
    const auto compressed = input ? CompressedNameOf(file.name, *input->stored)
                                  : Result<std::optional<CompressedName>>(std::nullopt);
    if (!input || !compressed || *compressed) {
      return true;  // Verify meets the error again
    }
    const std::string why = file.path() +
                            ": in spite of its name it is not compressed, or its first bytes are "
                            "damaged; it was not checked";
    findings.Doubt(file.path(), why);
    return false;
  }

  // `pool`: its threads help to decode the Blocks; null: this thread decodes them all.
  void Verify(VerifyFindings& findings, Progress& progress, WorkerPool* pool,
              const std::string& path) {
    if (progress.cancelled()) {
      return;
    }
    const Result<Input> input = OpenInput(Os::Real(), path);
    const Result<BlockIndex> index =
        input ? ReadIndexOf(*input) : Result<BlockIndex>(Failure(input.error()));
    if (!index && input && IsDamage(index.error())) {
      findings.Add({.path = path, .why = index.error().message});
      return;
    }
    if (!index) {
      findings.Leave(path, index.error());
      return;
    }
    progress.Begin(path);
    std::atomic<uint64_t> bad{0};  // guards nothing
    const auto body = [&](size_t number) {
      const BlockInfo block = index->Block(number);
      uint64_t counted = 0;  // of the compressed bytes
      const double share =
          static_cast<double>(block.unpadded_size) / static_cast<double>(block.plain_size);
      const Status status = PassBlock(
          *input->stored, *index, block, progress.cancelled(),
          [&](uint64_t, std::span<const std::byte> bytes) -> Status {
            const auto part = static_cast<uint64_t>(static_cast<double>(bytes.size()) * share);
            counted += bytes.empty() ? 0 : part;
            progress.AddDone(0, bytes.empty() ? 0 : part, bytes.size());
            return {};
          });
      progress.AddDone(0, block.unpadded_size - std::min(counted, block.unpadded_size), 0);
      if (status || progress.cancelled()) {
        return;
      }
      ++bad;
      Damage damage{.path = path, .has_block = true, .block = block, .why = status.error().message};
      if (IsDamage(status.error())) {
        findings.Add(std::move(damage));
      } else {
        findings.Leave(
            path, {status.error().kind, status.error().code, VerifyFindings::Described(damage)});
      }
    };
    if (pool != nullptr) {
      ParallelFor(*pool, threads_ - 1, index->block_count(), body, /*group=*/1);
    } else {
      for (uint64_t number = 0; number < index->block_count(); ++number) {
        body(number);
      }
    }
    if (progress.cancelled()) {
      return;
    }
    progress.AddDone(1, 0, 0);
    findings.Count(path, *index, bad == 0 && verbose_);
  }

  TreeRules rules_;
  unsigned threads_ = 0;
  bool verbose_ = false;
  bool json_ = false;
  std::string progress_ = "auto";
  std::vector<std::string> paths_;
};

}  // namespace

std::unique_ptr<Command> MakeVerifyCommand() { return std::make_unique<VerifyCommand>(); }

}  // namespace xzfs
