// A pair is looked up where it is cheapest first: in our own session's claims, in memory; among the
// pairs that no claim names (`foreign_`); then in the claims of all other sessions, on the disk. If
// all of these could be read and none names the pair, it is added to `foreign_`.
//
// What RemoveHidden does depends on which of the two is the new file, and on whose claim it is:
//   - The plain file is the new one: it is whole, so its name is synced, and the compressed file is
//     removed.
//   - Our own claim: a commit that is at work removes its file itself; otherwise the file is
//     removed and the claim is forgotten.
//   - The claim of another session: the file is removed if that session's process is dead, while no
//     other process can adopt the session (Session::IfDead).
//
// Before each removal both files are compared with the claim once more.
#include "store/source_twins.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/identity.h"
#include "base/try.h"
#include "store/directory_reader.h"
#include "store/home.h"
#include "store/kept_times.h"
#include "store/names.h"

namespace xzfs {
namespace {

// 32 bytes each. If a source has more pairs, some are looked up again.
constexpr size_t kMostForeign = size_t{1} << 16;

size_t HashOf(const FileFacts& plain, const FileFacts& compressed) {
  const IdentityHash hash;
  return hash(Identity::Of(plain.attributes)) * 31 + hash(Identity::Of(compressed.attributes));
}

}  // namespace

void SourceTwins::SetOwn(std::shared_ptr<Session> session) {
  MutexLock lock(mutex_);
  own_ = std::move(session);
}

bool SourceTwins::AreTwins(const FileFacts& plain, const FileFacts& compressed) {
  return Find(plain, compressed).has_value();
}

std::optional<SourceTwins::Found> SourceTwins::Find(const FileFacts& plain,
                                                    const FileFacts& compressed) {
  const size_t hash = HashOf(plain, compressed);
  std::shared_ptr<Session> own;
  {
    MutexLock lock(mutex_);
    own = own_;
  }
  if (own != nullptr) {
    if (auto match = own->claims().FindTwins(plain, compressed)) {
      return Found{std::move(match->claim), {}, std::move(own), match->id, match->at_work};
    }
  }
  {
    MutexLock lock(mutex_);
    if (foreign_.contains(hash)) {
      return std::nullopt;
    }
  }
  bool saw_all = true;
  auto found = FindOnDisk(own == nullptr ? std::string() : own->name(), plain, compressed, saw_all);
  if (!found && saw_all) {
    MutexLock lock(mutex_);
    if (foreign_.size() >= kMostForeign) {
      foreign_.clear();
    }
    foreign_.insert(hash);
  }
  return found;
}

// `own`: the session that was asked already. Sets `saw_all` to false if it can't see all.
std::optional<SourceTwins::Found> SourceTwins::FindOnDisk(const std::string& own,
                                                          const FileFacts& plain,
                                                          const FileFacts& compressed,
                                                          bool& saw_all) {
  const DescriptorPtr top = open_top_();
  if (top == nullptr) {
    saw_all = false;
    return std::nullopt;
  }
  const auto home = LookAtHome(os_, top->descriptor.get(), top_kind_);
  if (!home || home->kind != HomeKind::kOurs || !home->folder.valid()) {
    // The claims in a copy are about other files.
    saw_all = home && home->kind != HomeKind::kOurs;
    return std::nullopt;
  }
  const int folder_of_all = home->folder.get();
  const auto lines = ReadAllLines(os_, folder_of_all);
  saw_all = lines.has_value();
  for (const RawLine& line : lines.value_or(std::vector<RawLine>())) {
    if (line.type == DT_REG || line.name == own || !IsSessionName(line.name)) {
      continue;
    }
    const auto folder = OpenDirectoryAt(os_, folder_of_all, line.name);
    if (!folder) {
      saw_all = saw_all && (folder.error().code == ENOENT || folder.error().code == ENOTDIR);
      continue;
    }
    const auto claims =
        Claims::Read(os_, folder->get(), JoinPath(std::string(kPrivateFolder), line.name));
    saw_all = saw_all && claims.has_value();
    for (const auto& [claim, done] : claims.value_or(std::vector<Claims::Recorded>())) {
      if (!done && claim.NamesBoth(plain, compressed)) {
        return Found{claim, line.name, nullptr, 0, false};
      }
    }
  }
  return std::nullopt;
}

Result<bool> SourceTwins::RemoveHidden(int dir, const std::string& plain,
                                       const std::string& compressed) {
  FileFacts facts[2];
  if (os_.FactsAt(dir, compressed, &facts[1]) < 0 || os_.FactsAt(dir, plain, &facts[0]) < 0) {
    return false;
  }
  const std::optional<Found> found = Find(facts[0], facts[1]);
  if (!found) {
    return false;
  }
  if (found->claim.IsMade(facts[0])) {
    // The compressed file is complete and would stay, but its name may not be on the disk yet. The
    // process that made it finds that its work has been done.
    if (const int error = os_.Sync(dir); error < 0) {
      return FailErrno(-error, "sync the directory of '" + plain + "'");
    }
    return Remove(dir, plain, compressed, found->claim);
  }
  if (found->own != nullptr) {
    if (found->at_work) {
      return false;
    }
    XZFS_ASSIGN_OR_RETURN(const bool gone, Remove(dir, plain, compressed, found->claim));
    if (gone) {
      found->own->claims().Forget(found->id);
    }
    return gone;
  }
  const DescriptorPtr top = open_top_();
  if (top == nullptr) {
    return false;
  }
  bool removed = false;
  const Status ended = Session::IfDead(os_, top->descriptor.get(), found->session, [&]() -> Status {
    XZFS_ASSIGN_OR_RETURN(removed, Remove(dir, plain, compressed, found->claim));
    return {};
  });
  if (!ended && ended.error().code != ENOENT) {  // else another process has just settled it
    return Failure(ended.error());
  }
  return removed;
}

// Removes it if both files still are what the claim says.
Result<bool> SourceTwins::Remove(int dir, const std::string& plain, const std::string& compressed,
                                 const Claim& claim) {
  FileFacts facts[2];
  if (os_.FactsAt(dir, plain, &facts[0]) < 0 || os_.FactsAt(dir, compressed, &facts[1]) < 0 ||
      !claim.NamesBoth(facts[0], facts[1])) {
    return false;
  }
  const KeptTimes times(os_, dir);
  const int error = os_.Unlink(dir, compressed, 0);
  if (error < 0 && error != -ENOENT) {
    return FailErrno(-error, "remove '" + compressed + "', left by an interrupted commit");
  }
  return error == 0;
}

}  // namespace xzfs
