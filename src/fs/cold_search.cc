// The walk follows the order of the names' bytes. So its position is one directory's path:
// everything before it is done, even if files come and go. The notes keep the position about once a
// minute. The next mount goes on there: it lists the directories on the way again, and leaves out
// the files in them.
//
// The thread repeats three steps: a walk, storing the notes, a pause. It compresses one file at a
// time and waits for it. If the disk is full it pauses within the walk.
#include "fs/cold_search.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/idle_priority.h"
#include "base/log.h"
#include "store/directory_reader.h"
#include "store/names.h"

namespace xzfs {
namespace {

using std::chrono::duration;
using std::chrono::seconds;

constexpr size_t kBufferBytes = 32 * 1024;
// How much of a walk may have to be repeated after a crash.
constexpr seconds kKeepInterval(60);
// How long the search waits after a full disk.
constexpr double kFullPauseSeconds = 240;
// A use is noted once a day, as often as relatime does it.
constexpr double kMostUnnotedSeconds = 86400;

// The pause between two walks: it delays the compression of a file by so much.
double PauseSeconds(double cold_after_s) { return std::clamp(cold_after_s / 30, 0.2, 86400.0); }

double Seconds(const struct timespec& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// How long the file was unused, by its times. The ctime counts, too: a copy with an old mtime may
// be new.
double UnusedSeconds(const struct stat& st) {
  struct timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  const double last = std::max({Seconds(st.st_atim), Seconds(st.st_mtim), Seconds(st.st_ctim)});
  return Seconds(now) - last;
}

bool IsBelow(const std::string& path, const std::string& directory) {
  return directory.empty() || (path.starts_with(directory) && path.size() > directory.size() &&
                               path[directory.size()] == '/');
}

}  // namespace

bool IsVisitedBefore(const std::string& a, const std::string& b) {
  const auto rank = [](char c) { return c == '/' ? 0 : static_cast<int>(static_cast<uint8_t>(c)); };
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [&](char x, char y) { return rank(x) < rank(y); });
}

ColdSearch::ColdSearch(Os& os, int source, double cold_after_s, UnshrinkableFiles& unshrinkable,
                       Calls calls)
    : os_(os),
      source_(source),
      cold_after_s_(cold_after_s),
      calls_(std::move(calls)),
      notes_(unshrinkable) {
  struct stat root = {};
  if (os_.FStat(source_, &root) == 0) {
    device_ = root.st_dev;
  }
}

void ColdSearch::Start() {
  try {
    thread_ = std::thread([this] {
      UseLowPriority();
      Run();
    });
  } catch (const std::system_error& error) {
    Log(LogLevel::kError, std::string("no thread to search for cold files: ") + error.what());
  }
}

void ColdSearch::Stop() {
  {
    MutexLock lock(mutex_);
    ended_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) {
    calls_.cancel();
    thread_.join();
  }
}

bool ColdSearch::ended() {
  MutexLock lock(mutex_);
  return ended_;
}

bool ColdSearch::IsCold(const struct stat& st) {
  return !ended() && UnusedSeconds(st) >= cold_after_s_;
}

bool ColdSearch::IsUnnoted(const struct stat& st) const {
  return UnusedSeconds(st) > std::min(kMostUnnotedSeconds, cold_after_s_ / 2);
}

ColdNotes::Scope ColdSearch::Scope() const {
  return {.device = device_, .least_saving = calls_.least_saving()};
}

ColdSearch::Figures ColdSearch::figures() {
  MutexLock lock(mutex_);
  return figures_;
}

void ColdSearch::Run() {
  notes_.Parse(calls_.load(), Scope());
  kept_ = std::chrono::steady_clock::now();
  while (!ended()) {
    try {
      WalkAll();
    } catch (const std::bad_alloc&) {
      Log(LogLevel::kWarning, "no memory to search for cold files; xzfs tries again later");
    }
    KeepNotes();
    Pause(PauseSeconds(cold_after_s_));
  }
}

void ColdSearch::Pause(double length_s) {
  const auto next =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration<double>(length_s));
  MutexLock lock(mutex_);
  figures_.walking = false;
  while (!ended_ && std::chrono::steady_clock::now() < next) {
    changed_.WaitUntil(mutex_, next);
  }
  figures_.walking = !ended_;
}

void ColdSearch::WalkAll() {
  const std::string resume = notes_.position();
  if (resume.empty()) {
    notes_.files().BeginSearch();
  }
  {
    MutexLock lock(mutex_);
    const uint64_t walks = figures_.walks;
    figures_ = {};
    figures_.walks = walks;
    figures_.walking = true;
  }
  std::vector<std::string> ways = {""};  // the last one is visited next
  while (!ways.empty()) {
    const std::string directory = std::move(ways.back());
    ways.pop_back();
    const bool leads_there = directory != resume && IsBelow(resume, directory) && !resume.empty();
    if (IsVisitedBefore(directory, resume) && !leads_there) {
      continue;
    }
    Enter(leads_there ? resume : directory);
    std::vector<std::string> below;
    VisitDirectory(directory, leads_there, below);
    if (ended()) {
      return;
    }
    std::sort(below.begin(), below.end(),
              [](const std::string& a, const std::string& b) { return IsVisitedBefore(b, a); });
    std::move(below.begin(), below.end(), std::back_inserter(ways));
    if (std::chrono::steady_clock::now() - kept_ > kKeepInterval) {
      KeepNotes();
    }
  }
  if (resume.empty()) {
    notes_.files().EndSearch();
  }
  notes_.SetPosition("");
  MutexLock lock(mutex_);
  ++figures_.walks;
  figures_.directory.clear();
}

void ColdSearch::Enter(const std::string& directory) {
  notes_.SetPosition(directory);
  MutexLock lock(mutex_);
  figures_.directory = directory;
}

// `only_below`: the directory's own files are done already.
void ColdSearch::VisitDirectory(const std::string& directory, bool only_below,
                                std::vector<std::string>& below) {
  const auto open = OpenDirectoryAt(os_, source_, directory);
  struct stat st = {};
  if (!open || os_.FStat(open->get(), &st) < 0 || st.st_dev != device_) {
    return;  // removed, not readable, or on another file system
  }
  const int dir = open->get();
  std::vector<std::byte> buffer(kBufferBytes);
  for (uint64_t offset = 0; !ended();) {
    const auto lines = ReadLines(os_, dir, offset, buffer);
    if (!lines || lines->empty()) {
      return;
    }
    offset = lines->back().next_offset;
    for (const RawLine& line : *lines) {
      if (line.name == "." || line.name == ".." ||
          (directory.empty() && line.name == kPrivateFolder)) {
        continue;
      }
      const bool is_unknown = line.type == DT_UNKNOWN && os_.StatAt(dir, line.name, &st) == 0;
      const std::string path = JoinPath(directory, line.name);
      if (line.type == DT_DIR || (is_unknown && S_ISDIR(st.st_mode))) {
        below.push_back(path);
      } else if (!only_below && (line.type == DT_REG || is_unknown) && !StripSuffix(line.name)) {
        VisitFile(dir, path, line.name);
      }
      if (ended()) {
        return;
      }
    }
  }
}

void ColdSearch::VisitFile(int dir, const std::string& path, const std::string& name) {
  struct stat st = {};
  if (os_.StatAt(dir, name, &st) < 0 || !S_ISREG(st.st_mode)) {
    return;
  }
  Count(&Figures::plain, st);
  if (calls_.stays_plain(path, st)) {
    Count(&Figures::kept, st);
    return;
  }
  if (calls_.would_not_shrink(path, st)) {
    Count(&Figures::unshrinkable, st);
    return;
  }
  if (!IsCold(st)) {
    Count(&Figures::waiting, st);
    return;
  }
  const Status compressed = calls_.compress(path, st);
  if (!compressed) {
    {
      MutexLock lock(mutex_);
      ++figures_.failed;
    }
    const int code = compressed.error().code;
    if (code == ENOSPC || code == EDQUOT) {
      Pause(kFullPauseSeconds);  // the next files would fail, too
    }
    return;
  }
  if (calls_.would_not_shrink(path, st)) {
    Count(&Figures::unshrinkable, st);
    return;
  }
  struct stat now = {};
  if (os_.StatAt(dir, name, &now) == 0 && now.st_ino == st.st_ino) {
    Count(&Figures::waiting, st);  // it is in use
  }
}

void ColdSearch::Count(Share Figures::*share, const struct stat& st) {
  MutexLock lock(mutex_);
  ++(figures_.*share).files;
  (figures_.*share).bytes += static_cast<uint64_t>(st.st_size);
}

void ColdSearch::KeepNotes() {
  kept_ = std::chrono::steady_clock::now();
  if (!notes_.changed()) {
    return;
  }
  if (const Status kept = calls_.keep(notes_.Serialize(Scope())); !kept) {
    Log(LogLevel::kWarning, kept.error().message + "; the next mount repeats a part of the search");
  }
}

}  // namespace xzfs
