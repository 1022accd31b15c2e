// The directory itself tells about its file system, and its folder .xzfs about mounts that ended
// early. A walk through the tree then looks at each compressed file's Index, and at further folders
// .xzfs of other file systems below.
//
// Whether the file system has leases is tried on a file: a lease for reading is taken and given
// back at once. That changes nothing, and at worst another program waits for that moment. Only the
// owner of a file may do it.
//
// A session in .xzfs is dead if no process has its lock. While that is found out .xzfs/lock is
// held, as a mount does; where that lock is missing or not for this user, nothing is tried.
#include "ctl/doctor/source.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <optional>
#include <set>

#include "base/shared_filesystem.h"
#include "base/units.h"
#include "ctl/files/input.h"
#include "ctl/files/seekability.h"
#include "ctl/replace/tree.h"
#include "store/directory_reader.h"
#include "store/home.h"
#include "store/names.h"

namespace xzfs {
namespace {

using Level = Finding::Level;

// A commit writes the new file beside the old one.
constexpr uint64_t kLittleSpace = uint64_t{64} << 20;

// A count, and the first or worst of what was counted.
struct Counted {
  uint64_t count = 0;
  std::string example;
  uint64_t weight = 0;

  void Add(const std::string& what, uint64_t heavy = 0) {
    if (count++ == 0 || heavy > weight) {
      example = what;
      weight = heavy;
    }
  }
};

class SourceLook {
 public:
  SourceLook(Os& os, std::string path) : os_(os), path_(std::move(path)) {}

  Findings Run(SourceDepth depth) {
    const Descriptor top(os_, open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!top.valid()) {
      Add(Level::kProblem, std::string("can't be looked into: ") + std::strerror(errno),
          "ls -ld " + path_);
      return std::move(findings_);
    }
    LookAtFileSystem(top.get());
    if (depth == SourceDepth::kTop) {
      LookAtPrivateFolder(top.get(), path_);
    } else {
      Walk();
    }
    return std::move(findings_);
  }

 private:
  void Add(Level level, std::string text, std::string command) {
    findings_.push_back({level, path_, std::move(text), std::move(command)});
  }

  void LookAtFileSystem(int top) {
    struct statfs fs = {};
    if (fstatfs(top, &fs) != 0) {
      return;
    }
    const uint64_t free = static_cast<uint64_t>(fs.f_bavail) * static_cast<uint64_t>(fs.f_bsize);
    const std::string shared(SharedFilesystem(fs.f_type));
    if ((static_cast<unsigned long>(fs.f_flags) & ST_RDONLY) != 0) {
      Add(Level::kNote, "its file system is mounted read-only, so a mount of xzfs is, too", "");
    } else if (!shared.empty()) {
      Add(Level::kWarning,
          "lies on " + shared +
              ", where others may write unseen, so xzfs mounts it read-only unless you promise "
              "that "
              "nobody else writes there",
          "xzfs " + path_ + " MOUNTPOINT -o single_client");
    } else if (free < kLittleSpace) {
      Add(Level::kWarning,
          "only " + FormatSize(free) +
              " are free: a file stays plain until there is room for its "
              "compressed form",
          "df -h " + path_);
    } else {
      Add(Level::kOk, "lies on a local file system with " + FormatSize(free) + " free", "");
    }
    is_shared_ = !shared.empty();
  }

  void LookAtPrivateFolder(int top, const std::string& where) {
    const auto home = LookAtAnyHome(os_, top);
    if (!home || home->kind == HomeKind::kNone) {
      return;
    }
    const std::string folder = where + (where.ends_with('/') ? ".xzfs" : "/.xzfs");
    if (home->kind == HomeKind::kUsers) {
      findings_.push_back({Level::kWarning, folder,
                           "was not made by xzfs, so nothing that waits can be kept there",
                           "ls -la " + folder});
      return;
    }
    if (!home->folder.valid() || faccessat(home->folder.get(), ".", R_OK | X_OK, AT_EACCESS) != 0) {
      findings_.push_back(
          {Level::kNote, folder, "this user may not look into it", "sudo xzfsctl doctor " + where});
      return;
    }
    if (home->kind == HomeKind::kCopy) {
      findings_.push_back(
          {Level::kNote, folder,
           "is a copy of another source's, as in a backup: nothing in it is applied to files here",
           "ls -R " + folder});
      return;
    }
    LookAtSessions(home->folder.get(), folder, where);
    LookAtLostAndFound(home->folder.get(), folder);
  }

  void LookAtSessions(int home, const std::string& folder, const std::string& where) {
    std::set<std::string> dead;
    for (const RawLine& line : ReadAllLines(os_, home).value_or(std::vector<RawLine>())) {
      if (IsSessionName(line.name)) {
        dead.insert(line.name);
      }
    }
    if (dead.empty()) {
      return;
    }
    if (faccessat(home, kLockName, R_OK, AT_EACCESS) != 0 && errno != ENOENT) {
      findings_.push_back({Level::kNote, folder, "this user can't tell which mounts of it live",
                           "sudo xzfsctl doctor " + where});
      return;
    }
    if (faccessat(home, kLockName, F_OK, 0) == 0) {
      for (const LivingSession& session : FindLivingSessions(os_, home)) {
        dead.erase(session.name);
      }
    }
    uint64_t edited = 0;
    for (const std::string& name : dead) {
      const Descriptor session(os_, os_.OpenBeneath(home, name, O_RDONLY | O_DIRECTORY));
      const auto lines =
          session.valid() ? ReadAllLines(os_, session.get()) : Result<std::vector<RawLine>>();
      for (const RawLine& line : lines.value_or(std::vector<RawLine>())) {
        edited += line.name.ends_with(".log") ? 1 : 0;
      }
    }
    if (!dead.empty()) {
      findings_.push_back(
          {Level::kWarning, folder,
           fmt::format("{} ended before everything was compressed; changes of {} wait there; "
                       "the next mount goes on with them",
                       dead.size() == 1 ? "a mount" : Count(dead.size(), "mount"),
                       Count(edited, "file")),
           "xzfs " + where + " MOUNTPOINT"});
    }
  }

  void LookAtLostAndFound(int home, const std::string& folder) {
    const Descriptor lost(os_, os_.OpenBeneath(home, kLostAndFound, O_RDONLY | O_DIRECTORY));
    const auto lines =
        lost.valid() ? ReadAllLines(os_, lost.get()) : Result<std::vector<RawLine>>();
    if (!lines.value_or(std::vector<RawLine>()).empty()) {
      findings_.push_back({Level::kWarning, folder + "/lost+found",
                           "holds changes of files that another program replaced; xzfs(5) says how "
                           "to read them",
                           "ls " + folder + "/lost+found"});
    }
  }

  void Walk() {
    const std::atomic<bool> never{false};
    const TreeRules rules{.excludes = {}, .one_file_system = false, .only_stored_for = "doctor"};
    WalkTrees(
        os_, rules, {path_}, never, [this](const FoundFile& file) { Visit(file); },
        [this](const std::string& path, const Error& error) {
          unseen_.Add(path + ": " + error.message);
        },
        [this](const OpenDir& dir) { LookAtPrivateFolder(dir.fd(), dir.path); });
    TellAboutLeases();
    TellAboutFiles();
  }

  // On the first file of this user's.
  bool MayTryLease(const struct stat& st) const {
    return !leases_ && !is_shared_ && (geteuid() == 0 || st.st_uid == geteuid());
  }

  void Visit(const FoundFile& file) {
    ++files_;
    const bool may_be_compressed = StripSuffix(file.name).has_value();
    const bool tries_lease = MayTryLease(file.attributes);
    if (!may_be_compressed && !tries_lease) {
      return;
    }
    const auto input = OpenInput(os_, file.path());
    if (!input) {
      unseen_.Add(input.error().message);
      return;
    }
    if (tries_lease) {
      TryLease(*input);
    }
    const auto compressed = may_be_compressed ? CompressedNameOf(file.name, *input->stored)
                                              : Result<std::optional<CompressedName>>(std::nullopt);
    if (!compressed || !*compressed) {
      return;
    }
    ++compressed_;
    const Result<BlockIndex> index = ReadIndexOf(*input);
    if (!index) {
      damaged_.Add(index.error().message);
    } else if (index->largest_block() > kFairBlockBytes) {
      giant_.Add(file.path(), index->largest_block());
    }
  }

  // A file that is open for writing proves nothing.
  void TryLease(const Input& input) {
    const int error = os_.TakeLease(input.descriptor.get());
    if (error == 0) {
      os_.ReleaseLease(input.descriptor.get());
    }
    if (error != -EAGAIN) {
      leases_ = error;
    }
  }

  void TellAboutLeases() {
    if (is_shared_ || !leases_) {
      return;
    }
    if (*leases_ == 0) {
      Add(Level::kOk, "has leases, so xzfs sees that other programs have files open for writing",
          "");
    } else {
      Add(Level::kWarning,
          std::string("has no leases (") + std::strerror(-*leases_) +
              "), so xzfs can't see that other programs write there: write through the mount alone",
          "");
    }
  }

  void TellAboutFiles() {
    if (damaged_.count != 0) {
      Add(Level::kProblem,
          fmt::format("the Index of {} can't be read, such as {}",
                      Count(damaged_.count, "compressed file"), damaged_.example),
          "xzfsctl verify " + path_);
    }
    if (giant_.count != 0) {
      Add(Level::kWarning,
          fmt::format(
              "reads at random are slow in {} of {}, because of Blocks of more than {}; the "
              "largest is of {}, in {}",
              giant_.count, Count(compressed_, "compressed file"), FormatSize(kFairBlockBytes),
              FormatSize(giant_.weight), giant_.example),
          "xzfsctl reblock " + path_);
    }
    if (unseen_.count != 0) {
      Add(Level::kNote,
          fmt::format("{} could not be looked at, such as {}", Count(unseen_.count, "name"),
                      unseen_.example),
          "sudo xzfsctl doctor " + path_);
    }
    if (damaged_.count + giant_.count == 0) {
      Add(Level::kOk,
          fmt::format("has {}, {} of them compressed, and none with giant Blocks",
                      Count(files_, "file"), compressed_),
          "");
    }
  }

  Os& os_;
  const std::string path_;
  Findings findings_;
  bool is_shared_ = false;
  uint64_t files_ = 0;
  uint64_t compressed_ = 0;
  Counted giant_;
  Counted damaged_;
  Counted unseen_;
  std::optional<int> leases_;  // 0, or -errno; nothing: not tried yet
};

}  // namespace

Findings LookAtSource(Os& os, const std::string& path, SourceDepth depth) {
  return SourceLook(os, path).Run(depth);
}

}  // namespace xzfs
