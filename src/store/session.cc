// Two daemons that start at the same time must not take each other's new folder for that of a dead
// one. So a daemon holds `.xzfs/lock` from making a folder to locking its lock file, and while it
// looks for dead ones.
#include "store/session.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <span>

#include "base/log.h"
#include "base/try.h"
#include "store/claims_file.h"
#include "store/directory_reader.h"
#include "store/home.h"
#include "store/names.h"
#include "store/record_file.h"
#include "store/records.h"
#include "store/settle_claims.h"

namespace xzfs {
namespace {

// An intent begins with this, and not with the number of its steps, if each step has a birth time.
constexpr uint64_t kIntentWithBirths = 0;

std::string NewName() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  for (char& c : host) {
    if (c == '/') {
      c = '_';
    }
  }
  host[64] = '\0';
  std::random_device random;
  char tail[64];
  snprintf(tail, sizeof tail, "-%d-%08x%08x", getpid(), random(), random());
  return host + std::string(tail);
}

Status SyncFolder(Os& os, int fd) {
  if (const int error = os.Sync(fd); error < 0) {
    return FailErrno(-error, "sync a folder of .xzfs");
  }
  return {};
}

// Our folder must not inherit the source's default ACL: its files later take the place of the
// user's files.
void DropAcls(Os& os, int dir, const std::string& folder) {
  os.RemoveXattrAt(dir, folder, "system.posix_acl_default");
  os.RemoveXattrAt(dir, folder, "system.posix_acl_access");
}

bool IsOfMakingFiles(const std::string& file) {
  return file == kLockName || file == ClaimsFile::kName || file == ClaimsFile::kNewName ||
         file.ends_with(".tmp") || file.ends_with(kAsideSuffix);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Create(Os& os, int source, const SessionUse& use) {
  constexpr int kTries = 8;
  for (int tries = 1;; ++tries) {
    auto session = TryCreate(os, source, use);
    if (session || session.error().code != ENOENT || tries == kTries) {
      return session;
    }
  }
}

Result<std::unique_ptr<Session>> Session::TryCreate(Os& os, int source, const SessionUse& use) {
  XZFS_ASSIGN_OR_RETURN(Descriptor home, MakeHome(os, source, use.top));
  XZFS_ASSIGN_OR_RETURN(const Descriptor guard, LockHome(os, home.get()));
  if (!HasMarker(os, home.get())) {
    return Fail(ENOENT, "the folder .xzfs is just being removed");
  }
  std::string name = NewName();
  if (const int error = os.MakeDir(home.get(), name, kPrivateFolderMode); error < 0) {
    return FailErrno(-error, "make .xzfs/" + name);
  }
  DropAcls(os, home.get(), name);
  const int folder_fd = os.OpenBeneath(home.get(), name, O_RDONLY | O_DIRECTORY);
  if (folder_fd < 0) {
    return FailErrno(-folder_fd, "open .xzfs/" + name);
  }
  Descriptor folder(os, folder_fd);
  const int lock_fd =
      os.OpenBeneath(folder.get(), kLockName, O_RDWR | O_CREAT | O_EXCL, kPrivateFileMode);
  if (lock_fd < 0) {
    return FailErrno(-lock_fd, "make .xzfs/" + name + "/lock");
  }
  Descriptor lock(os, lock_fd);
  if (const int error = os.TryLock(lock.get()); error < 0) {
    return FailErrno(-error, "lock .xzfs/" + name);
  }
  if (use.levels) {
    XZFS_RETURN_IF_ERROR(WriteRecord(os, lock_fd, std::to_string(*use.levels) + "\n", 0));
  }
  XZFS_RETURN_IF_ERROR(SyncFolder(os, home.get()));
  return std::make_unique<Session>(os, source, std::move(home), std::move(name), std::move(folder),
                                   std::move(lock));
}

Result<std::unique_ptr<Session>> Session::TryAdopt(Os& os, int source, int home,
                                                   const std::string& name) {
  const int folder_fd = os.OpenBeneath(home, name, O_RDONLY | O_DIRECTORY);
  if (folder_fd < 0) {
    return FailErrno(-folder_fd, "open .xzfs/" + name);
  }
  Descriptor folder(os, folder_fd);
  // A daemon that was killed before it made its lock is also dead.
  int lock_fd = os.OpenBeneath(folder.get(), kLockName, O_RDWR | O_CREAT, kPrivateFileMode);
  if (lock_fd == -EROFS) {
    lock_fd = os.OpenBeneath(folder.get(), kLockName, O_RDONLY);
  }
  if (lock_fd < 0) {
    return FailErrno(-lock_fd, "open .xzfs/" + name + "/lock");
  }
  Descriptor lock(os, lock_fd);
  const int error = os.TryLock(lock.get());
  if (error == -EWOULDBLOCK) {
    return nullptr;
  }
  if (error < 0) {
    return FailErrno(-error, "lock .xzfs/" + name);
  }
  XZFS_ASSIGN_OR_RETURN(Descriptor own_home, OpenDirectoryAt(os, home, ""));
  auto session = std::make_unique<Session>(os, source, std::move(own_home), name, std::move(folder),
                                           std::move(lock));
  // New numbers must differ from those of the files that are there.
  XZFS_ASSIGN_OR_RETURN(const auto files, session->ListFiles());
  MutexLock guard(session->mutex_);
  for (const std::string& file : files) {
    session->next_id_ =
        std::max<uint64_t>(session->next_id_, strtoull(file.c_str(), nullptr, 10) + 1);
  }
  return session;
}

Result<std::vector<std::unique_ptr<Session>>> Session::AdoptDead(Os& os, int source) {
  std::vector<std::unique_ptr<Session>> dead;
  auto home = OpenHome(os, source);
  if (!home) {
    return home.error().code == ENOENT ? Result<decltype(dead)>(std::move(dead))
                                       : Failure(home.error());
  }
  XZFS_ASSIGN_OR_RETURN(const Descriptor guard, LockHome(os, home->get()));
  XZFS_ASSIGN_OR_RETURN(const std::vector<RawLine> lines, ReadAllLines(os, home->get()));
  for (const RawLine& line : lines) {
    if (line.type == DT_REG || !IsSessionName(line.name)) {
      continue;
    }
    auto session = TryAdopt(os, source, home->get(), line.name);
    if (!session) {
      Log(LogLevel::kError, session.error().message + "; its pending work stays as it is");
    } else if (*session != nullptr) {
      dead.push_back(std::move(*session));
    }
  }
  if (dead.empty()) {
    RemoveUnusedHome(os, source, home->get());
  }
  return dead;
}

Status Session::RemoveDeadTemps(Os& os, int source) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor home, OpenHome(os, source));
  // Held to the end: a mount that starts now must not find that we have locked a session with
  // pending work.
  XZFS_ASSIGN_OR_RETURN(const Descriptor guard, LockHome(os, home.get()));
  XZFS_ASSIGN_OR_RETURN(const std::vector<RawLine> lines, ReadAllLines(os, home.get()));
  for (const RawLine& line : lines) {
    if (!IsSessionName(line.name)) {
      continue;
    }
    const auto session = TryAdopt(os, source, home.get(), line.name);
    const auto files = session && *session != nullptr ? (*session)->ListFiles()
                                                      : Result<std::vector<std::string>>();
    const bool only_temps = files && std::all_of(files->begin(), files->end(), IsOfMakingFiles);
    if (!only_temps || !session || *session == nullptr) {
      continue;
    }
    if (const Status settled = SettleClaims(os, **session); !settled) {
      Log(LogLevel::kError, settled.error().message + "; it stays for the next run or mount");
      continue;
    }
    for (const std::string& file : *files) {
      if (file.ends_with(".tmp")) {
        (*session)->Unlink(file);
      }
    }
    (*session)->RemoveIfEmptyLocked();
  }
  RemoveUnusedHome(os, source, home.get());
  return {};
}

Status Session::IfDead(Os& os, int source, const std::string& name,
                       const std::function<Status()>& act) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor home, OpenHome(os, source));
  XZFS_ASSIGN_OR_RETURN(const Descriptor guard, LockHome(os, home.get()));
  XZFS_ASSIGN_OR_RETURN(const auto session, TryAdopt(os, source, home.get(), name));
  return session == nullptr ? Status() : act();
}

size_t Session::CountOverlays(Os& os, int source) {
  size_t count = 0;
  const auto lines_of = [&](const std::string& path) {
    const auto dir = OpenDirectoryAt(os, source, path);
    const auto lines = dir ? ReadAllLines(os, dir->get()) : Result<std::vector<RawLine>>();
    return lines.value_or(std::vector<RawLine>());
  };
  const std::string home(kPrivateFolder);
  for (const RawLine& session : lines_of(home)) {
    if (IsSessionName(session.name)) {
      for (const RawLine& file : lines_of(JoinPath(home, session.name))) {
        count += file.name.ends_with(".log") ? 1 : 0;
      }
    }
  }
  return count;
}

Result<Descriptor> Session::OpenLostAndFound(Os& os, int source) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor home, MakeHome(os, source, HomeTop::kSourceRoot));
  const int made = os.MakeDir(home.get(), kLostAndFound, kPrivateFolderMode);
  if (made < 0 && made != -EEXIST) {
    return FailErrno(-made, "make .xzfs/lost+found");
  }
  XZFS_RETURN_IF_ERROR(SyncFolder(os, home.get()));
  return FindLostAndFound(os, source);
}

Result<Descriptor> Session::OpenLostAndFound() {
  const int made = os_.MakeDir(home(), kLostAndFound, kPrivateFolderMode);
  if (made < 0 && made != -EEXIST) {
    return FailErrno(-made, "make .xzfs/lost+found");
  }
  XZFS_RETURN_IF_ERROR(SyncFolder(os_, home()));
  return OpenDirectoryAt(os_, home(), kLostAndFound);
}

Result<Descriptor> Session::FindLostAndFound(Os& os, int source) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor home, OpenHome(os, source));
  const int fd = os.OpenBeneath(home.get(), kLostAndFound, O_RDONLY | O_DIRECTORY);
  if (fd < 0) {
    return FailErrno(-fd, "open .xzfs/lost+found");
  }
  return Descriptor(os, fd);
}

std::string Session::NewId() {
  MutexLock lock(mutex_);
  return std::to_string(next_id_++);
}

Result<TempFile> Session::MakeTemp() {
  std::string name = NewId() + ".tmp";
  const int fd = os_.OpenBeneath(folder(), name, O_RDWR | O_CREAT | O_EXCL, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "make .xzfs/" + name_ + "/" + name);
  }
  return TempFile{std::move(name), Descriptor(os_, fd)};
}

void Session::Unlink(const std::string& file) { os_.Unlink(folder(), file, 0); }

Result<std::string> Session::WriteIntent(const std::vector<IntentStep>& steps) {
  std::string body;
  PutNumber(body, kIntentWithBirths);
  PutNumber(body, steps.size());
  for (const IntentStep& step : steps) {
    PutNumber(body, static_cast<uint64_t>(step.kind));
    PutNumber(body, step.inode);
    PutText(body, step.from);
    PutText(body, step.to);
    PutNumber(body, static_cast<uint64_t>(step.birth_ns));
  }
  std::string name = NewId() + ".intent";
  const auto file = WriteWhole(name, RecordOf(body));
  Status written = file ? SyncFolder(os_, file->get()) : Status(Failure(file.error()));
  written = written ? SyncFolder(os_, folder()) : written;
  if (!written) {
    Unlink(name);
    return Failure(written.error());
  }
  return name;
}

Intent Session::ReadIntent(const std::string& name) {
  const Result<std::string> bytes = ReadWhole(name);
  std::string body;
  struct stat st = {};
  if (!bytes || !RecordParser(*bytes).Record(body) || os_.StatAt(folder(), name, &st) < 0) {
    return {};
  }
  RecordParser parser(body);
  uint64_t count = 0;
  parser.Number(count);
  const bool has_births = count == kIntentWithBirths;
  if (has_births) {
    parser.Number(count);
  }
  std::vector<IntentStep> steps;
  for (uint64_t i = 0; i < count; ++i) {
    IntentStep step;
    uint64_t kind = 0;
    uint64_t birth = 0;
    const bool whole = parser.Number(kind) && parser.Number(step.inode) && parser.Text(step.from) &&
                       parser.Text(step.to) && (!has_births || parser.Number(birth));
    if (!whole || kind < 1 || kind > 3) {
      return {};
    }
    step.birth_ns = static_cast<int64_t>(birth);
    step.kind = static_cast<IntentStep::Kind>(kind);
    steps.push_back(std::move(step));
  }
  return {std::move(steps), st.st_mtim};
}

Result<Descriptor> Session::WriteWhole(const std::string& name, std::string_view bytes) {
  const int fd = os_.OpenBeneath(folder(), name, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "make .xzfs/" + name_ + "/" + name);
  }
  Descriptor file(os_, fd);
  XZFS_RETURN_IF_ERROR(WriteRecord(os_, fd, bytes, 0));
  return file;
}

Result<std::string> Session::ReadWhole(const std::string& name) {
  return ReadRecordFile(os_, folder(), name, ".xzfs/" + name_ + "/" + name);
}

Status Session::WriteShared(const std::string& name, std::string_view bytes) {
  if (bytes.empty()) {
    os_.Unlink(home_.get(), name, 0);
    return {};
  }
  const std::string temp = NewId() + ".tmp";  // the next mount would remove it
  Status written;
  if (const auto file = WriteWhole(temp, bytes); !file) {
    written = Failure(file.error());
  } else {
    const int error = os_.Rename(folder(), temp, home_.get(), name, 0);
    written = error < 0 ? Status(FailErrno(-error, "rename to .xzfs/" + name)) : Status();
  }
  if (!written) {
    Unlink(temp);
  }
  return written;
}

Result<std::string> Session::ReadShared(Os& os, int source, const std::string& name) {
  XZFS_ASSIGN_OR_RETURN(const Descriptor home, OpenHome(os, source));
  return ReadRecordFile(os, home.get(), name, ".xzfs/" + name);
}

Result<std::vector<std::string>> Session::ListFiles() {
  XZFS_ASSIGN_OR_RETURN(const std::vector<RawLine> lines, ReadAllLines(os_, folder()));
  std::vector<std::string> names;
  names.reserve(lines.size());
  for (const RawLine& line : lines) {
    names.push_back(line.name);
  }
  return names;
}

void Session::RemoveIfEmpty() {
  if (const auto guard = LockHome(os_, home_.get())) {
    RemoveIfEmptyLocked();
  }
}

bool Session::IsDone() {
  const auto claims = Claims::Read(os_, folder(), ".xzfs/" + name_);
  return claims && std::all_of(claims->begin(), claims->end(),
                               [](const Claims::Recorded& recorded) { return recorded.done; });
}

void Session::RemoveIfEmptyLocked() {
  const Result<std::vector<std::string>> files = ListFiles();
  if (!files) {
    return;
  }
  for (const std::string& file : *files) {
    struct stat st = {};
    const bool no_paths =
        file == PendingPaths::kName && os_.StatAt(folder(), file, &st) == 0 && st.st_size == 0;
    const bool no_claims = file == ClaimsFile::kNewName || (file == ClaimsFile::kName && IsDone());
    if (file != kLockName && !no_paths && !no_claims) {
      return;
    }
  }
  // The files are closed before they lose their names: FUSE file systems and NFS keep an open file
  // under another name, and then its folder can't be removed. No other process adopts this session,
  // as the home is locked.
  claims_.Close();
  lock_ = Descriptor();
  pending_.Remove();
  Unlink(ClaimsFile::kName);
  Unlink(ClaimsFile::kNewName);
  Unlink(kLockName);
  os_.Unlink(home_.get(), name_, AT_REMOVEDIR);
  RemoveUnusedHome(os_, source_, home_.get());
}

}  // namespace xzfs
