// Every Block of every file, decoded and checked.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/machine.h"
#include "base/mutex.h"
#include "base/parallel_for.h"
#include "base/units.h"
#include "ctl/block_pass.h"
#include "ctl/commands.h"
#include "ctl/encoding.h"
#include "ctl/input.h"
#include "ctl/json.h"
#include "ctl/progress.h"
#include "ctl/tree.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

// Files up to this size are verified several at a time, a thread each; of larger ones the Blocks.
constexpr int64_t kSmallBytes = int64_t{4} << 20;

// Of one file. Ranges are of the logical file.
struct Damage {
  std::string path;
  bool has_block = false;  // else it is the Index, or the file can't be read
  BlockInfo block = {};
  std::string why;
};

class VerifyCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    rules_.Declare(arguments);
    DeclareThreads(arguments, threads_);
    arguments.Flag("-v,--verbose", verbose_, "tell of each file");
    arguments.Flag("--json", json_, "machine-readable");
    Progress::Declare(arguments, progress_);
    arguments.Operands("PATH", paths_, "compressed files, and directories with all in them");
  }

  Status Run(Console& console) override {
    threads_ = threads_ == 0 ? UsableProcessors() : threads_;
    Progress progress(console, Progress::ModeOf(progress_));
    std::vector<std::string> small;
    std::vector<std::string> large;
    WalkTrees(Os::Real(), console, rules_, paths_, progress.cancelled(), [&](FoundFile file) {
      if (file.is_named || LooksCompressed(file)) {
        (file.attributes.st_size <= kSmallBytes ? small : large).push_back(file.path());
        progress.AddTotal(1, static_cast<uint64_t>(file.attributes.st_size));
      }
    });
    progress.TotalIsComplete();
    WorkerPool pool(threads_, threads_);
    pool.Start();
    ParallelFor(
        pool, threads_ - 1, small.size(),
        [&](size_t i) { Verify(console, progress, nullptr, small[i]); }, /*group=*/1);
    for (const std::string& path : large) {
      Verify(console, progress, &pool, path);
    }
    console.EndBySignal(progress.signal());
    Report(console);
    return {};
  }

 private:
  static bool LooksCompressed(const FoundFile& file) {
    if (file.name.find('.') == std::string::npos) {
      return false;
    }
    const Result<Input> input = OpenInput(Os::Real(), file.path());
    if (!input) {
      return true;  // whoever verifies it meets the error
    }
    const auto compressed = CompressedNameOf(file.name, *input->stored);
    return !compressed || compressed->has_value();
  }

  // `pool`: where Blocks are decoded at the same time; null: on this thread.
  void Verify(Console& console, Progress& progress, WorkerPool* pool, const std::string& path) {
    if (progress.cancelled()) {
      return;
    }
    const Result<Input> input = OpenInput(Os::Real(), path);
    const Result<BlockIndex> index =
        input ? ReadIndexOf(*input) : Result<BlockIndex>(tl::unexpected(input.error()));
    if (!index) {
      Add(console, {.path = path, .why = index.error().message});
      return;
    }
    std::atomic<uint64_t> bad{0};  // guards nothing
    const auto body = [&](size_t number) {
      const BlockInfo block = index->Block(number);
      const Status status = PassBlock(*input->stored, *index, block, progress.cancelled(),
                                      [&](uint64_t, std::span<const std::byte> bytes) -> Status {
                                        progress.AddDone(0, 0, bytes.size());
                                        return {};
                                      });
      progress.AddDone(0, block.unpadded_size, 0);
      if (!status && status.error().code != ECANCELED) {
        ++bad;
        Add(console,
            {.path = path, .has_block = true, .block = block, .why = status.error().message});
      }
    };
    if (pool != nullptr) {
      ParallelFor(*pool, threads_ - 1, index->block_count(), body, /*group=*/1);
    } else {
      for (uint64_t number = 0; number < index->block_count(); ++number) {
        body(number);
      }
    }
    progress.AddDone(1, 0, 0);
    Count(console, path, *index, bad == 0);
  }

  void Add(Console& console, Damage damage) EXCLUDES(mutex_) {
    std::string where;
    if (damage.has_block) {
      const BlockInfo& block = damage.block;
      where = damage.path + ": Block " + std::to_string(block.number) + ", bytes " +
              std::to_string(block.plain_offset) + " to " +
              std::to_string(block.plain_offset + block.plain_size) + ": ";
    }
    console.Error(where + damage.why);
    MutexLock lock(mutex_);
    damages_.push_back(std::move(damage));
  }

  void Count(Console& console, const std::string& path, const BlockIndex& index, bool good)
      EXCLUDES(mutex_) {
    const std::vector<uint8_t> checks = index.Checks();
    const bool checked = std::all_of(checks.begin(), checks.end(), [](uint8_t check) {
      return check != 0 && CheckIsSupported(check);
    });
    if (good && verbose_) {
      console.Note(path + ": " + std::to_string(index.block_count()) + " Blocks are good" +
                   (checked ? "" : ", as far as can be told without a Check"));
    }
    MutexLock lock(mutex_);
    ++files_;
    blocks_ += index.block_count();
    plain_bytes_ += index.plain_size();
    unchecked_ += checked ? 0 : 1;
  }

  void Report(Console& console) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    std::sort(damages_.begin(), damages_.end(), [](const Damage& a, const Damage& b) {
      return std::pair(a.path, a.block.number) < std::pair(b.path, b.block.number);
    });
    if (json_) {
      PrintJson(console, Document());
      return;
    }
    console.Note("verified " + std::to_string(files_) + (files_ == 1 ? " file, " : " files, ") +
                 std::to_string(blocks_) + " Blocks, " + FormatSize(plain_bytes_) + ": " +
                 (damages_.empty() ? "all good" : std::to_string(damages_.size()) + " damaged") +
                 (unchecked_ == 0 ? "" : "; " + std::to_string(unchecked_) + " have no Check"));
  }

  Json Document() const REQUIRES(mutex_) {
    Json json = NewDocument("verify");
    json["files"] = files_;
    json["blocks"] = blocks_;
    json["plain_bytes"] = plain_bytes_;
    json["files_without_check"] = unchecked_;
    json["damaged"] = Json::array();
    for (const Damage& damage : damages_) {
      Json entry;
      PutPath(entry, damage.path);
      entry["block"] = damage.has_block ? Json(damage.block.number) : Json(nullptr);
      if (damage.has_block) {
        entry["begin"] = damage.block.plain_offset;
        entry["end"] = damage.block.plain_offset + damage.block.plain_size;
      }
      entry["error"] = damage.why;
      json["damaged"].push_back(std::move(entry));
    }
    return json;
  }

  TreeRules rules_;
  unsigned threads_ = 0;
  bool verbose_ = false;
  bool json_ = false;
  std::string progress_ = "auto";
  std::vector<std::string> paths_;
  Mutex mutex_;
  std::vector<Damage> damages_ GUARDED_BY(mutex_);
  uint64_t files_ GUARDED_BY(mutex_) = 0;  // those with an Index
  uint64_t blocks_ GUARDED_BY(mutex_) = 0;
  uint64_t plain_bytes_ GUARDED_BY(mutex_) = 0;
  uint64_t unchecked_ GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::unique_ptr<Command> MakeVerifyCommand() { return std::make_unique<VerifyCommand>(); }

}  // namespace xzfs
