// What trees take: their plain size, their size on the disk, and what compression saves.
//
// The walk gives each file under each of its names. `Add` puts it into a tree of Folders, which
// mirrors the directories below PATH. SizesOf (files/file_sizes.h) says what a file takes.
//
// After the walk, Sum adds up each folder, and one of three writers prints the tree: a table, JSON,
// or an export for ncdu. `--max-depth` limits what the first two print, not what a sum counts. An
// error is printed, and the walk goes on; a PATH that itself can't be read has no line.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <ctime>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/log.h"
#include "base/units.h"
#include "ctl/commands/commands.h"
#include "ctl/files/file_sizes.h"
#include "ctl/replace/tree.h"
#include "ctl/shell/json.h"
#include "ctl/shell/table.h"

namespace xzfs {
namespace {

constexpr size_t kBarCells = 20;

struct Folder {
  std::map<std::string, Folder> folders;
  std::map<std::string, FileSizes> files;
  FileSizes sum;
};

std::string SavedText(const FileSizes& sizes) {
  const int64_t saved = sizes.saved_bytes();
  return saved < 0 ? "-" + FormatSize(static_cast<uint64_t>(-saved))
                   : FormatSize(static_cast<uint64_t>(saved));
}

// Which share of the plain size is on the disk, as a bar.
std::string Bar(const FileSizes& sizes) {
  const double share = sizes.plain_bytes == 0
                           ? 1
                           : std::min(1.0, static_cast<double>(sizes.disk_bytes) /
                                               static_cast<double>(sizes.plain_bytes));
  const auto full = static_cast<size_t>(share * kBarCells + 0.5);
  return std::string(full, '#') + std::string(kBarCells - full, '.');
}

class DuCommand : public Command {
 public:
  void Declare(Arguments& arguments) override {
    arguments.Number("-d,--max-depth", depth_, 0, 1000, "show this many levels (default: 1)");
    arguments.Flag("--json", json_, "machine-readable, sizes in bytes");
    arguments.Flag("--ncdu", ncdu_, "write an export that ncdu -f shows");
    arguments.Flag("-s,--summarize", summarize_, "only one line for each PATH");
    rules_.Declare(arguments);
    arguments.Operands("PATH", paths_, "directories and files, also in a mount");
  }

  Status Run(Console& console) override {
    if (ncdu_ && paths_.size() > 1) {
      return Fail(EINVAL, "du: --ncdu takes one PATH: ncdu shows one tree");
    }
    depth_ = summarize_ ? 0 : depth_;
    Json document = NewDocument("du");
    document["directories"] = Json::array();
    bool is_first = true;
    for (const std::string& path : paths_) {
      Folder root;
      if (!Scan(console, path, root)) {
        continue;
      }
      if (ncdu_) {
        PrintJson(console, Ncdu(path, root));
      } else if (json_) {
        AddJson(document["directories"], path, root, 0);
      } else {
        if (std::exchange(is_first, false)) {
          PrintLine(console, "Plain", "On disk", "Saved", "", "Directory");
        }
        Print(console, path, root, 0);
      }
    }
    if (json_) {
      PrintDocument(console, std::move(document));
    }
    return {};
  }

 private:
  // Returns whether `path` itself could be read.
  bool Scan(Console& console, const std::string& path, Folder& root) {
    const std::atomic<bool> never{false};
    bool is_read = true;
    WalkTrees(
        Os::Real(), rules_, {path}, never,
        [&](const FoundFile& file) { Add(console, path, root, file); },
        [&](const std::string& where, const Error& error) {
          console.FileError(where, error.message);
          is_read = is_read && where != path;
        });
    Sum(root);
    return is_read;
  }

  static void Add(Console& console, const std::string& path, Folder& root, const FoundFile& file) {
    // What is below `path`, one folder after the other.
    std::string_view below = file.dir->path;
    below.remove_prefix(std::min(below.size(), file.is_named ? below.size() : path.size()));
    Folder* folder = &root;
    while (!below.empty()) {
      const size_t slash = std::min(below.find('/'), below.size());
      if (slash != 0) {
        folder = &folder->folders[std::string(below.substr(0, slash))];
      }
      below.remove_prefix(std::min(slash + 1, below.size()));
    }
    folder->files[file.name] = SizesOf(console, file);
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
    const FileSizes& sum = folder.sum;
    PrintLine(console, FormatSize(sum.plain_bytes), FormatSize(sum.disk_bytes), SavedText(sum),
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
    entry["plain_bytes"] = folder.sum.plain_bytes;
    entry["disk_bytes"] = folder.sum.disk_bytes;
    entry["saved_bytes"] = folder.sum.saved_bytes();
    list.push_back(std::move(entry));
    for (const auto& [name, sub] : folder.folders) {
      if (level < depth_) {
        AddJson(list, Below(path, name), sub, level + 1);
      }
    }
  }

  // ncdu's export format, version 1.2: a directory is a list that begins with its own entry.
  static Json Ncdu(const std::string& path, const Folder& root) {
    Json document = Json::array({1, 2});
    document.push_back({{"progname", "xzfsctl"},
                        {"progver", XZFS_VERSION},
                        {"timestamp", static_cast<int64_t>(std::time(nullptr))}});
    document.push_back(NcduFolder(path, root));
    return document;
  }

  static Json NcduFolder(const std::string& name, const Folder& folder) {
    Json list = Json::array();
    list.push_back({{"name", name}});
    for (const auto& [file, sizes] : folder.files) {
      list.push_back({{"name", file}, {"asize", sizes.plain_bytes}, {"dsize", sizes.disk_bytes}});
    }
    for (const auto& [sub_name, sub] : folder.folders) {
      list.push_back(NcduFolder(sub_name, sub));
    }
    return list;
  }

  unsigned depth_ = 1;
  bool json_ = false;
  bool ncdu_ = false;
  bool summarize_ = false;
  TreeRules rules_;
  std::vector<std::string> paths_;
};

}  // namespace

std::unique_ptr<Command> MakeDuCommand() { return std::make_unique<DuCommand>(); }

}  // namespace xzfs
