// What a tree takes: its plain size, its size on the disk, and what compression saves.
//
// The walk gives each file under each of its names. `Add` puts it into a tree of Folders, which
// mirrors the directories below PATH. A file with a compressed suffix and first bytes to match has
// the plain size that its Index says; nothing is decoded. Any other file counts as plain, with its
// own size. So does a compressed file that can't be read; if its Index is at fault, there is a
// warning. The size on the disk is what is allocated.
//
// After the walk, Sum adds up each folder, and one of three writers prints the tree: a table, JSON,
// or an export for ncdu. `--max-depth` limits what the first two print, not what a sum counts. An
// error of PATH itself is the command's error. Any other is only printed, and the walk goes on.
#include <algorithm>
#include <atomic>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/try.h"
#include "base/units.h"
#include "ctl/commands/commands.h"
#include "ctl/files/input.h"
#include "ctl/replace/tree.h"
#include "ctl/shell/json.h"
#include "ctl/shell/table.h"
#include "store/names.h"

namespace xzfs {
namespace {

constexpr uint64_t kStatBlockBytes = 512;
constexpr size_t kBarCells = 20;

struct Sizes {
  uint64_t files = 0, compressed_files = 0;
  uint64_t plain = 0;  // as the mount shows them
  uint64_t disk = 0;   // allocated

  void Add(const Sizes& other) {
    files += other.files;
    compressed_files += other.compressed_files;
    plain += other.plain;
    disk += other.disk;
  }
  // Holes and blocks that aren't full may make it negative.
  int64_t saved() const { return static_cast<int64_t>(plain) - static_cast<int64_t>(disk); }
};

struct Folder {
  std::map<std::string, Folder> folders;
  std::map<std::string, Sizes> files;
  Sizes sum;
};

std::string SavedText(const Sizes& sizes) {
  const int64_t saved = sizes.saved();
  return saved < 0 ? "-" + FormatSize(static_cast<uint64_t>(-saved))
                   : FormatSize(static_cast<uint64_t>(saved));
}

// Which share of the plain size is on the disk, as a bar.
std::string Bar(const Sizes& sizes) {
  const double share =
      sizes.plain == 0
          ? 1
          : std::min(1.0, static_cast<double>(sizes.disk) / static_cast<double>(sizes.plain));
  const auto full = static_cast<size_t>(share * kBarCells + 0.5);
  return std::string(full, '#') + std::string(kBarCells - full, '.');
}

class DuCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Number("-d,--max-depth", depth_, 0, 1000, "show this many levels (default: 1)");
    arguments.Flag("--json", json_, "machine-readable, sizes in bytes");
    arguments.Flag("--ncdu", ncdu_, "write an export that ncdu -f shows");
    rules_.Declare(arguments);
    arguments.Operand("PATH", path_, "a directory or a file");
  }

  Status Run(Console& console) override {
    const std::atomic<bool> never{false};
    Status seen;
    WalkTrees(
        Os::Real(), rules_, {path_}, never, [&](const FoundFile& file) { Add(console, file); },
        [&](const std::string& path, const Error& error) {
          if (path == path_) {
            seen = Failure(error);
          } else {
            console.Error(error.message);
          }
        });
    XZFS_RETURN_IF_ERROR(seen);
    Sum(root_);
    if (ncdu_) {
      PrintJson(console, Ncdu());
    } else if (json_) {
      Json document = NewDocument("du");
      document["directories"] = Json::array();
      AddJson(document["directories"], path_, root_, 0);
      PrintJson(console, document);
    } else {
      PrintLine(console, "Plain", "On disk", "Saved", "", "Directory");
      Print(console, path_, root_, 0);
    }
    return {};
  }

 private:
  void Add(Console& console, const FoundFile& file) {
    // What is below `path_`, one folder after the other.
    std::string_view below = file.dir->path;
    below.remove_prefix(std::min(below.size(), file.is_named ? below.size() : path_.size()));
    Folder* folder = &root_;
    while (!below.empty()) {
      const size_t slash = std::min(below.find('/'), below.size());
      if (slash != 0) {
        folder = &folder->folders[std::string(below.substr(0, slash))];
      }
      below.remove_prefix(std::min(slash + 1, below.size()));
    }
    folder->files[file.name] = SizesOf(console, file);
  }

  static Sizes SizesOf(Console& console, const FoundFile& file) {
    Sizes sizes;
    sizes.files = 1;
    sizes.plain = static_cast<uint64_t>(file.attributes.st_size);
    sizes.disk = static_cast<uint64_t>(file.attributes.st_blocks) * kStatBlockBytes;
    if (!StripSuffix(file.name)) {
      return sizes;
    }
    const Result<Input> input = OpenInput(Os::Real(), file.path());
    const auto compressed = input ? CompressedNameOf(file.name, *input->stored)
                                  : Result<std::optional<CompressedName>>(std::nullopt);
    if (!compressed || !*compressed) {
      return sizes;
    }
    const Result<BlockIndex> index = ReadIndexOf(*input);
    if (!index) {
      console.Warn(index.error().message);
      return sizes;
    }
    sizes.compressed_files = 1;
    sizes.plain = index->plain_size();
    return sizes;
  }

  static void Sum(Folder& folder) {
    for (auto& [name, sizes] : folder.files) {
      folder.sum.Add(sizes);
    }
    for (auto& [name, sub] : folder.folders) {
      Sum(sub);
      folder.sum.Add(sub.sum);
    }
  }

  static std::string Below(const std::string& path, const std::string& name) {
    return path.ends_with('/') ? path + name : path + "/" + name;
  }

  // The sub-directories first, as du does.
  void Print(Console& console, const std::string& path, const Folder& folder, unsigned level) {
    if (level < depth_) {
      for (const auto& [name, sub] : folder.folders) {
        Print(console, Below(path, name), sub, level + 1);
      }
    }
    const Sizes& sum = folder.sum;
    PrintLine(console, FormatSize(sum.plain), FormatSize(sum.disk), SavedText(sum),
              console.stdout_is_terminal() ? Bar(sum) : "", Printable(path));
  }

  static void PrintLine(Console& console, const std::string& plain, const std::string& disk,
                        const std::string& saved, const std::string& bar, const std::string& name) {
    const Table table({{11}, {11}, {11}});
    console.Print(table.Line({plain, disk, saved}, bar + (bar.empty() ? "" : "  ") + name));
  }

  void AddJson(Json& list, const std::string& path, const Folder& folder, unsigned level) const {
    Json entry;
    PutPath(entry, path);
    entry["files"] = folder.sum.files;
    entry["compressed_files"] = folder.sum.compressed_files;
    entry["plain_bytes"] = folder.sum.plain;
    entry["disk_bytes"] = folder.sum.disk;
    entry["saved_bytes"] = folder.sum.saved();
    list.push_back(std::move(entry));
    for (const auto& [name, sub] : folder.folders) {
      if (level < depth_) {
        AddJson(list, Below(path, name), sub, level + 1);
      }
    }
  }

  // ncdu's export format, version 1.2: a directory is a list that begins with its own entry.
  Json Ncdu() const {
    Json document = Json::array({1, 2});
    document.push_back({{"progname", "xzfsctl"},
                        {"progver", XZFS_VERSION},
                        {"timestamp", static_cast<int64_t>(std::time(nullptr))}});
    document.push_back(NcduFolder(path_, root_));
    return document;
  }

  static Json NcduFolder(const std::string& name, const Folder& folder) {
    Json list = Json::array();
    list.push_back({{"name", name}});
    for (const auto& [file, sizes] : folder.files) {
      list.push_back({{"name", file}, {"asize", sizes.plain}, {"dsize", sizes.disk}});
    }
    for (const auto& [sub_name, sub] : folder.folders) {
      list.push_back(NcduFolder(sub_name, sub));
    }
    return list;
  }

  unsigned depth_ = 1;
  bool json_ = false;
  bool ncdu_ = false;
  TreeRules rules_;
  std::string path_;
  Folder root_;
};

}  // namespace

std::unique_ptr<Command> MakeDuCommand() { return std::make_unique<DuCommand>(); }

}  // namespace xzfs
