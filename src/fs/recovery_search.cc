// Searches for files that are not at their noted paths: a directory above them may have been
// renamed without a note. Each search walks through the whole zone, and compares inode numbers
// first, so that it looks at few files.
//
// Before the mount serves, SearchBases settles each overlay whose base it finds. Later, Search does
// that in the background. Requests may then rename a directory past the search, so Search begins
// again if there was one meanwhile, but not for ever. It gives overlays without a base up only
// after a search that could read everything (SettleOrphans): the base may lie in what it could not
// read.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <unordered_set>
#include <utility>

#include "base/fail.h"
#include "base/log.h"
#include "fs/orphans.h"
#include "fs/overlays.h"
#include "fs/recovery.h"
#include "store/content_hash.h"
#include "store/directory_reader.h"
#include "store/home.h"
#include "store/intents.h"
#include "store/names.h"
#include "store/overlay.h"
#include "store/overlay_content.h"
#include "store/settle_claims.h"

namespace xzfs {

bool Recovery::IsDirectory(int dir, const RawLine& line) {
  struct stat st = {};
  return line.type == DT_DIR ||
         (line.type == DT_UNKNOWN && os_.StatAt(dir, line.name, &st) == 0 && S_ISDIR(st.st_mode));
}

// Collects the inode numbers of bases, so that not every orphan is compared with every file.
void Recovery::NoteWanted(const std::vector<Orphan>& orphans) {
  wanted_.clear();
  wants_all_ = false;
  for (const Orphan& orphan : orphans) {
    const OverlayBase base = orphan.overlay->base();
    wants_all_ = wants_all_ || base.content != 0;
    wanted_.insert(base.inode);
    if (const auto as = orphan.overlay->notes().published_as) {
      wanted_.insert(as->inode);
    }
  }
}

void Recovery::SearchBases() {
  NoteWanted(orphans_);
  std::vector<std::string> dirs = {""};
  while (!dirs.empty() && !orphans_.empty()) {
    const std::string dir = std::move(dirs.back());
    dirs.pop_back();
    VisitDirectory(dir, dirs, [&](const std::string& path, uint64_t inode) {
      if (!IsWanted(inode)) {
        return;
      }
      std::erase_if(orphans_, [&](const Orphan& orphan) {
        return MayBe(orphan, inode) && Settle(orphan, path);
      });
    });
  }
}

// Calls `visit` for each name in a directory of the zone, and adds the directories to `below`.
void Recovery::VisitDirectory(const std::string& dir, std::vector<std::string>& below,
                              const std::function<void(const std::string&, uint64_t)>& visit) {
  const auto open = OpenDirectoryAt(os_, source_, dir);
  if (IsElsewhere(open)) {
    return;
  }
  const auto lines =
      open ? ReadAllLines(os_, open->get()) : Result<std::vector<RawLine>>(Failure(open.error()));
  if (!lines) {
    Log(LogLevel::kWarning, "recovery: " + lines.error().message);
    searched_all_ = false;
    return;
  }
  for (const RawLine& line : *lines) {
    const std::string path = JoinPath(dir, line.name);
    if (line.name != kPrivateFolder && IsDirectory(open->get(), line)) {
      below.push_back(path);
    }
    visit(path, line.inode);
  }
}

// In the background. A lookup of a base, also one from here, attaches its overlay
// (Orphans::Attach).
void Recovery::Search() {
  constexpr int kTries = 4;
  for (int tries = 0; tries < kTries && !runner_.searches_end(); ++tries) {
    const uint64_t moves = parts_.orphans.directory_moves();
    std::vector<std::string> dirs = {""};
    searched_all_ = true;
    NoteWanted(parts_.orphans.Of(zone_));
    while (!dirs.empty() && !runner_.searches_end()) {
      const std::string dir = std::move(dirs.back());
      dirs.pop_back();
      VisitDirectory(dir, dirs, [&](const std::string& path, uint64_t inode) {
        if (!IsWanted(inode)) {
          return;
        }
        for (const Orphan& orphan : parts_.orphans.Of(zone_)) {
          if (MayBe(orphan, inode)) {
            SettleInBackground(orphan, path);
          }
        }
      });
    }
    if (dirs.empty() && moves == parts_.orphans.directory_moves()) {
      for (Orphan& orphan : parts_.orphans.Of(zone_)) {
        if (searched_all_ && parts_.orphans.Take(orphan)) {
          orphans_.push_back(std::move(orphan));
        }
      }
      SettleOrphans();
      break;
    }
    // A base may have been moved past this search.
  }
  DropAdopted();
}

void Recovery::SettleInBackground(const Orphan& orphan, const std::string& path) {
  const Found found = LookAt(*orphan.overlay, path);
  if (found == Found::kBase) {
    if (const auto node = NodeAt(path)) {
      parts_.tree.Forget((*node)->id, 1);
    }
  } else if (found == Found::kPublished && parts_.orphans.Take(orphan)) {
    Settle(orphan, path);
  }
}

bool Recovery::MayBe(const Orphan& orphan, uint64_t inode) {
  const auto as = orphan.overlay->notes().published_as;
  const OverlayBase base = orphan.overlay->base();
  return inode == base.inode || base.content != 0 || (as && inode == as->inode);
}

void Recovery::SettleOrphans() {
  if (orphans_.empty()) {
    return;
  }
  if (!searched_all_) {
    Log(LogLevel::kError,
        "recovery: the files of some pending changes were not found; the changes stay in "
        ".xzfs for the next mount");
    return;
  }
  for (const Orphan& orphan : std::exchange(orphans_, {})) {
    Status settled;
    if (orphan.overlay->notes().dropped) {
      settled = orphan.overlay->Remove();
    } else {
      settled =
          parts_.overlays.KeepLost(*orphan.session, *orphan.overlay, orphan.overlay->base().path,
                                   "another program removed or changed the compressed file");
    }
    if (!settled) {
      Log(LogLevel::kError, "recovery: " + settled.error().message);
    }
  }
}

Result<std::string> Recovery::PathOf(uint64_t inode, int64_t birth_ns) {
  IntentStep wanted;
  wanted.inode = inode;
  wanted.birth_ns = birth_ns;
  bool looked_at_all = true;
  std::vector<std::string> dirs = {""};
  while (!dirs.empty()) {
    const std::string dir = std::move(dirs.back());
    dirs.pop_back();
    const auto open = OpenDirectoryAt(os_, source_, dir);
    const auto lines =
        open ? ReadAllLines(os_, open->get()) : Result<std::vector<RawLine>>(Failure(open.error()));
    looked_at_all = looked_at_all && lines.has_value();
    for (const RawLine& line : lines ? *lines : std::vector<RawLine>()) {
      const std::string path = JoinPath(dir, line.name);
      if (IsDirectory(open->get(), line)) {
        if (path != kPrivateFolder) {
          dirs.push_back(path);
        }
        continue;
      }
      FileFacts facts;
      if (line.inode == inode && os_.FactsAt(open->get(), line.name, &facts) == 0 &&
          wanted.IsOf(facts)) {
        return path;
      }
    }
  }
  return looked_at_all ? Fail(ENOENT, "the file has no name any more")
                       : Fail(EIO, "a file was not found, but not all directories could be read");
}

// ENOENT only if the file surely has no name.
Status Recovery::FindName(const FileId& file) {
  std::vector<std::string> dirs = {""};
  while (!dirs.empty()) {
    const std::string dir = std::move(dirs.back());
    dirs.pop_back();
    const auto open = OpenDirectoryAt(os_, source_, dir);
    if (IsElsewhere(open)) {
      continue;
    }
    const auto lines =
        open ? ReadAllLines(os_, open->get()) : Result<std::vector<RawLine>>(Failure(open.error()));
    searched_all_ = searched_all_ && lines.has_value();
    for (const RawLine& line : lines ? *lines : std::vector<RawLine>()) {
      const std::string path = JoinPath(dir, line.name);
      if (line.inode == file.inode && line.type != DT_DIR && FileAt(path, file.inode) == file) {
        if (const auto node = NodeAt(path)) {
          parts_.tree.Forget((*node)->id, 1);
          return {};
        }
        searched_all_ = false;  // the file is being renamed
      }
      if (line.name != kPrivateFolder && IsDirectory(open->get(), line)) {
        dirs.push_back(path);
      }
    }
  }
  return searched_all_ ? Fail(ENOENT, "the file has no name any more")
                       : Fail(EIO, "the file was not found, but not all directories could be read");
}

}  // namespace xzfs
