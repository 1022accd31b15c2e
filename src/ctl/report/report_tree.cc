// The directories are numbered as they are found and visited in that order, while the list grows.
// So a parent has a smaller number than its children, and one pass backwards adds up the sums. In a
// mount, `user.xzfs.info` says what a file is; in a directory of .xz files its Index does.
//
// Of the files only a few are kept: the largest, the largest plain ones, the compressed ones with
// the largest Blocks, and for each kind some plain ones that are drawn by chance, large ones more
// likely. So the memory grows with the directories and the kinds, not with the files, except for
// the names in one directory: they are read first, as its kinds depend on all of them. The
// generator has a fixed seed: the same tree gives the same page.
//
// EstimateRatios comes after the walk. Of the kinds that take most of the disk it encodes a part
// from the middle of each file that was drawn. The mean is the ratio of that kind; all others keep
// the ratio 1, so they seem to save hardly anything.
#include "ctl/report/report_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <utility>

#include "base/try.h"
#include "ctl/files/input.h"
#include "ctl/mounts/mount_client.h"
#include "store/home.h"
#include "store/names.h"
#include "store/xz_writer.h"
#include "xz/block_encoder.h"

namespace xzfs {
namespace {

constexpr size_t kMostListed = 20;
// More than a treemap shows.
constexpr size_t kMostLarge = 500;
// Blocks up to this size decode in some 50 ms: reblocking would change little.
constexpr uint64_t kGoodBlockBytes = uint64_t{4} << 20;
// How many kinds are sampled, how many files of each, and how much of a file: two seconds of
// encoding.
constexpr size_t kSampledKinds = 20;
constexpr size_t kSampledFiles = 8;
constexpr uint64_t kSampleBytes = uint64_t{64} << 10;
// Keeps the `most` greatest.
template <class T, class Greater>
void KeepGreatest(std::vector<T>& kept, T value, size_t most, Greater greater) {
  const auto at = std::upper_bound(kept.begin(), kept.end(), value, greater);
  if (at == kept.end() && kept.size() >= most) {
    return;
  }
  kept.insert(at, std::move(value));
  kept.resize(std::min(kept.size(), most));
}

class Scanner {
 public:
  Scanner(Os& os, std::string root, Console& console, ScanProgress& progress)
      : os_(os), root_(std::move(root)), console_(console), progress_(progress) {}

  Status Run();
  ReportTree TakeTree() { return std::move(tree_); }

 private:
  Status Visit(size_t number);
  void VisitName(size_t number, int dir, const std::string& name, const DirectoryKinds& kinds);
  void AddFile(ReportFile file, const std::string& name, const struct stat& st,
               const DirectoryKinds& kinds);
  void AddAny(const ReportFile& file);
  void AddSlow(ReportFile file);
  void AddPlain(ReportFile file, const std::string& name, const DirectoryKinds& kinds);
  std::string FullPath(const std::string& path) const {
    return path.empty() ? root_ : root_ + "/" + path;
  }
  void Skip(const std::string& message) {
    ++tree_.unreadable;
    console_.Warn(message);
  }

  Os& os_;
  const std::string root_;
  Console& console_;
  ScanProgress& progress_;
  ReportTree tree_;
  std::minstd_rand random_{1};  // the same tree gives the same page
  std::uniform_real_distribution<double> chance_{1e-9, 1.0};
  dev_t device_ = 0;
  bool is_mount_ = false;
};

Status Scanner::Run() {
  struct stat st = {};
  if (stat(root_.c_str(), &st) != 0) {
    return FailErrno(errno, root_);
  }
  if (!S_ISDIR(st.st_mode)) {
    return Fail(ENOTDIR, root_ + " is not a directory");
  }
  device_ = st.st_dev;
  is_mount_ = FileInfo(root_).has_value();
  tree_.directories.push_back({});
  XZFS_RETURN_IF_ERROR(Visit(0));
  for (size_t number = 1; number < tree_.directories.size(); ++number) {
    if (const Status visited = Visit(number); !visited) {
      Skip(visited.error().message);
    }
  }
  for (size_t i = 0; i < tree_.large_files.size(); ++i) {
    tree_.directories[tree_.large_files[i].directory].large_files.push_back(i);
  }
  // Parents come before their children.
  for (size_t number = tree_.directories.size(); number-- > 0;) {
    ReportDirectory& directory = tree_.directories[number];
    directory.all.Add(directory.own);
    if (number != 0) {
      tree_.directories[directory.parent].all.Add(directory.all);
    }
  }
  return {};
}

// The directory that was named counts as the root of a source.
bool IsOurFolder(int dir, HomeTop top_kind) {
  const auto home = LookAtHome(Os::Real(), dir, top_kind);
  return !home || home->kind == HomeKind::kOurs || home->kind == HomeKind::kCopy;
}

Status Scanner::Visit(size_t number) {
  const std::string path = tree_.directories[number].path;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(opendir(FullPath(path).c_str()), closedir);
  if (open == nullptr) {
    return FailErrno(errno, FullPath(path));
  }
  std::vector<std::string> names;
  std::vector<std::string> logical_names;
  while (const dirent* entry = readdir(open.get())) {
    std::string name = entry->d_name;
    if (name == "." || name == ".." ||
        (name == kPrivateFolder &&
         IsOurFolder(dirfd(open.get()), number == 0 ? HomeTop::kSourceRoot : HomeTop::kBelow))) {
      continue;
    }
    const auto stripped = is_mount_ ? std::nullopt : StripSuffix(name);
    logical_names.push_back(stripped ? stripped->logical : name);
    names.push_back(std::move(name));
  }
  const DirectoryKinds kinds(logical_names);
  for (const std::string& name : names) {
    VisitName(number, dirfd(open.get()), name, kinds);
  }
  return {};
}

void Scanner::VisitName(size_t number, int dir, const std::string& name,
                        const DirectoryKinds& kinds) {
  const std::string& above = tree_.directories[number].path;
  std::string path = above.empty() ? name : above + "/" + name;
  struct stat st = {};
  if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    Skip(FullPath(path) + ": can't be looked at");
  } else if (S_ISDIR(st.st_mode) && st.st_dev == device_) {
    tree_.directories[number].children.push_back(tree_.directories.size());
    tree_.directories.push_back({.path = std::move(path), .parent = number});
  } else if (S_ISREG(st.st_mode)) {
    AddFile({.path = std::move(path),
             .directory = number,
             .plain_bytes = static_cast<uint64_t>(st.st_size),
             .disk_bytes = static_cast<uint64_t>(st.st_blocks) * 512},
            name, st, kinds);
  }
}

// The path of the stored file of a compressed one in a mount.
std::string StoredPath(const std::string& path, const Json& info) {
  const std::string name = info.value("stored_name", "");
  // JSON has no bytes: a name that isn't UTF-8 is damaged in it.
  const bool is_exact = !name.empty() && name.find("\xEF\xBF\xBD") == std::string::npos;
  return is_exact ? path.substr(0, path.rfind('/') + 1) + name : path + ".xz";
}

void Scanner::AddFile(ReportFile file, const std::string& name, const struct stat& st,
                      const DirectoryKinds& kinds) {
  // Those that `reblock` leaves as they are would be no good advice.
  const bool is_linked = st.st_nlink > 1;
  if (is_mount_) {
    const auto info = FileInfo(FullPath(file.path));
    if (info && info->value("state", "") != "plain") {
      AddAny(file);
      file.stored_path = StoredPath(file.path, *info);
      file.largest_block = static_cast<uint64_t>(NumberAt(*info, "/largest_block_bytes"));
      if (!is_linked && info->value("format", "") == "xz") {
        AddSlow(std::move(file));
      }
      return;
    }
  } else if (const auto stripped = StripSuffix(name)) {
    const auto input = OpenInput(os_, FullPath(file.path));
    const auto index = input ? ReadIndexOf(*input) : Result<BlockIndex>(Failure(input.error()));
    if (index) {
      file.plain_bytes = index->plain_size();
      file.largest_block = index->largest_block();
      AddAny(file);
      if (!is_linked && (stripped->suffix == Suffix::kXz || stripped->suffix == Suffix::kTxz)) {
        AddSlow(std::move(file));
      }
      return;
    }
    Skip(index.error().message);
  }
  AddAny(file);
  AddPlain(std::move(file), name, kinds);
}

bool TakesMore(const ReportFile& a, const ReportFile& b) { return a.disk_bytes > b.disk_bytes; }

void Scanner::AddAny(const ReportFile& file) {
  tree_.directories[file.directory].own.Add({1, file.plain_bytes, file.disk_bytes});
  progress_.AddFile(file.disk_bytes);
  KeepGreatest(tree_.large_files, file, kMostLarge, TakesMore);
}

void Scanner::AddSlow(ReportFile file) {
  if (file.largest_block > kGoodBlockBytes) {
    ++tree_.slow_count;
    KeepGreatest(
        tree_.slow_files, std::move(file), kMostListed,
        [](const ReportFile& a, const ReportFile& b) { return a.largest_block > b.largest_block; });
  }
}

void Scanner::AddPlain(ReportFile file, const std::string& name, const DirectoryKinds& kinds) {
  const KindName kind_name = kinds.Of(name);
  ReportKind& kind = tree_.plain_kinds[kind_name];
  kind.usage.Add({1, file.plain_bytes, file.disk_bytes});
  kind.has_rotated = kind.has_rotated || IsRotated(name, kind_name);
  // Weighted sampling (Efraimidis and Spirakis): those with the greatest keys are as if they had
  // been drawn by size, so the mean of their ratios is that of all bytes.
  const double key = std::log(chance_(random_)) / static_cast<double>(file.plain_bytes + 1);
  KeepGreatest(kind.chosen, std::pair(key, FullPath(file.path)), kSampledFiles, std::greater<>());
  KeepGreatest(tree_.plain_files, std::move(file), kMostListed, TakesMore);
}

// Compressed / plain of the middle of the file; nothing if it can't be read or is empty.
std::optional<double> SampleRatio(BlockEncoder& encoder, const std::string& path) {
  const auto input = OpenInput(Os::Real(), path);
  if (!input || input->stored->size() == 0) {
    return std::nullopt;
  }
  const uint64_t size = input->stored->size();
  std::vector<std::byte> bytes(std::min(size, kSampleBytes));
  const auto got = input->stored->ReadAt((size - bytes.size()) / 2, bytes);
  if (!got || *got == 0) {
    return std::nullopt;
  }
  const auto block = encoder.Encode(std::span(bytes).first(*got));
  return block ? std::optional(static_cast<double>(block->bytes.size()) / static_cast<double>(*got))
               : std::nullopt;
}

}  // namespace

size_t EndOfChain(const ReportTree& tree, size_t number) {
  for (;;) {
    const ReportDirectory& directory = tree.directories[number];
    const auto has_files = [&](size_t child) { return tree.directories[child].all.files != 0; };
    const auto first =
        std::find_if(directory.children.begin(), directory.children.end(), has_files);
    if (directory.own.files != 0 || first == directory.children.end() ||
        std::any_of(first + 1, directory.children.end(), has_files)) {
      return number;
    }
    number = *first;
  }
}

Result<ReportTree> ScanTree(Os& os, const std::string& root, Console& console,
                            ScanProgress& progress) {
  Scanner scanner(os, root, console, progress);
  XZFS_RETURN_IF_ERROR(scanner.Run());
  return scanner.TakeTree();
}

void EstimateRatios(ReportTree& tree, ScanProgress& progress) {
  std::vector<ReportKind*> kinds;
  for (auto& [name, kind] : tree.plain_kinds) {
    kinds.push_back(&kind);
  }
  std::sort(kinds.begin(), kinds.end(), [](const ReportKind* a, const ReportKind* b) {
    return a->usage.disk_bytes > b->usage.disk_bytes;
  });
  kinds.resize(std::min(kinds.size(), kSampledKinds));
  BlockEncoder encoder(EncodeOptions{});
  for (size_t i = 0; i < kinds.size(); ++i) {
    progress.ShowEstimates(i, kinds.size());
    double sum = 0;
    int count = 0;
    for (const auto& [key, path] : kinds[i]->chosen) {
      if (const auto ratio = SampleRatio(encoder, path)) {
        sum += std::min(*ratio, 1.0);
        ++count;
      }
    }
    kinds[i]->ratio = count == 0 ? 1 : sum / count;
  }
}

}  // namespace xzfs
