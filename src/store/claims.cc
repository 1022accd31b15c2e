// A claim is on the disk before one of its two files gets the other's name. So anyone that sees
// both files finds the claim: a listing in another mount, or the next mount after a crash. An old
// claim that stays, or comes back after a power cut, does no harm: it counts only while both files
// are as it says. The end of a claim is not synced: after a power cut a file that was put aside and
// removed may come back, and then the record, done or not, says what it is.
#include "store/claims.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/try.h"
#include "store/record_file.h"
#include "store/records.h"

namespace xzfs {
namespace {

enum class Type : uint8_t { kClaim = 1, kDone = 2 };

std::string SealedDone(uint64_t id) {
  std::string body(1, static_cast<char>(Type::kDone));
  PutNumber(body, id);
  std::string record;
  PutRecord(record, body);
  return record;
}

void PutKey(std::string& body, const StoredKey& key) {
  PutNumber(body, key.inode);
  PutNumber(body, key.size_bytes);
  PutNumber(body, static_cast<uint64_t>(key.mtime_ns));
  PutNumber(body, static_cast<uint64_t>(key.birth_ns));
}

std::string Sealed(uint64_t id, const Claim& claim) {
  std::string body(1, static_cast<char>(Type::kClaim));
  PutNumber(body, id);
  PutNumber(body, static_cast<uint64_t>(claim.kind));
  PutText(body, claim.dir);
  PutText(body, claim.name);
  PutText(body, claim.other);
  PutKey(body, claim.made);
  PutKey(body, claim.old);
  PutNumber(body, static_cast<uint64_t>(claim.old_ctime_ns));
  std::string record;
  PutRecord(record, body);
  return record;
}

bool Signed(RecordParser& parser, int64_t& out) {
  uint64_t number = 0;
  const bool read = parser.Number(number);
  out = static_cast<int64_t>(number);
  return read;
}

bool Key(RecordParser& parser, StoredKey& out) {
  return parser.Number(out.inode) && parser.Number(out.size_bytes) &&
         Signed(parser, out.mtime_ns) && Signed(parser, out.birth_ns);
}

// Claims lead to the removal of files, so no name may lead out of the directory.
bool IsName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
}

// Nothing if the fields are not those of a claim.
std::optional<Claim> ParseClaim(RecordParser parser) {
  Claim claim;
  uint64_t kind = 0;
  const bool whole = parser.Number(kind) && parser.Text(claim.dir) && parser.Text(claim.name) &&
                     parser.Text(claim.other) && Key(parser, claim.made) &&
                     Key(parser, claim.old) && Signed(parser, claim.old_ctime_ns);
  if (!whole || kind < 1 || kind > 2 || !IsName(claim.name) || !IsName(claim.other)) {
    return std::nullopt;
  }
  claim.kind = static_cast<Claim::Kind>(kind);
  return claim;
}

}  // namespace

bool Claim::IsOld(const FileFacts& facts) const {
  return HasContentOfOld(facts) &&
         (old_ctime_ns == 0 || old_ctime_ns == Identity::Of(facts.attributes).ctime_ns);
}

bool Claim::IsEarlierOld(const FileFacts& facts) const {
  return facts.attributes.st_ino == old.inode && facts.birth_ns == old.birth_ns &&
         old.birth_ns != 0 && !HasContentOfOld(facts) && old_ctime_ns != 0 &&
         Identity::Of(facts.attributes).ctime_ns <= old_ctime_ns;
}

Result<Claim> ClaimOn(Os& os, Claim::Kind kind, int old_file, int made_file) {
  Claim claim;
  claim.kind = kind;
  FileFacts facts;
  int error = os.FactsAt(old_file, "", &facts);
  if (error == 0) {
    claim.old = StoredKey::Of(facts);
    claim.old_ctime_ns = Identity::Of(facts.attributes).ctime_ns;
    error = made_file < 0 ? 0 : os.FactsAt(made_file, "", &facts);
  }
  if (error < 0) {
    return FailErrno(-error, "stat a stored file");
  }
  claim.made = made_file < 0 ? StoredKey() : StoredKey::Of(facts);
  return claim;
}

HeldClaim::HeldClaim(HeldClaim&& other) noexcept
    : claims_(std::exchange(other.claims_, nullptr)),
      id_(other.id_),
      claim_(std::move(other.claim_)) {}

HeldClaim& HeldClaim::operator=(HeldClaim&& other) noexcept {
  if (this != &other) {
    LetGo();
    claims_ = std::exchange(other.claims_, nullptr);
    id_ = other.id_;
    claim_ = std::move(other.claim_);
  }
  return *this;
}

void HeldClaim::LetGo() {
  if (Claims* const claims = std::exchange(claims_, nullptr)) {
    claims->LetGo(id_);
  }
}

Status HeldClaim::Sync() { return claims_ == nullptr ? Status() : claims_->Sync(id_); }

void HeldClaim::Done() {
  if (Claims* const claims = std::exchange(claims_, nullptr)) {
    claims->Forget(id_);
  }
}

Result<HeldClaim> Claims::Add(Claim claim) {
  MutexLock lock(mutex_);
  if (file_.must_rewrite() || file_.IsTooLong()) {
    XZFS_RETURN_IF_ERROR(Rewrite());
  }
  XZFS_RETURN_IF_ERROR(file_.Open());
  XZFS_RETURN_IF_ERROR(file_.Append(Sealed(last_id_ + 1, claim)));
  live_.emplace(++last_id_, Live{claim});
  return HeldClaim(this, last_id_, std::move(claim));
}

std::optional<Claims::Match> Claims::FindTwins(const FileFacts& a, const FileFacts& b) {
  MutexLock lock(mutex_);
  for (const auto& [id, live] : live_) {
    if (live.claim.NamesBoth(a, b)) {
      return Match{id, live.claim, live.at_work};
    }
  }
  return std::nullopt;
}

void Claims::LetGo(uint64_t id) {
  MutexLock lock(mutex_);
  if (const auto it = live_.find(id); it != live_.end()) {
    it->second.at_work = false;
  }
}

// If this can't be written, a claim stays that means nothing.
void Claims::Forget(uint64_t id) {
  MutexLock lock(mutex_);
  if (live_.erase(id) == 0) {
    return;
  }
  (void)file_.Append(SealedDone(id));
  if (live_.empty() && !syncing_) {
    file_.Clear();
  }
}

void Claims::Close() {
  MutexLock lock(mutex_);
  file_.Close();
}

// One sync serves all threads that wait. Those that come while it runs share the next one.
Status Claims::Sync(uint64_t id) {
  MutexLock lock(mutex_);
  while (synced_id_ < id) {
    if (syncing_) {
      sync_ended_.Wait(mutex_);
      continue;
    }
    if (file_.must_rewrite()) {
      XZFS_RETURN_IF_ERROR(Rewrite());
      continue;
    }
    syncing_ = true;
    const uint64_t through = last_id_;
    const Status synced = file_.Sync(mutex_);
    syncing_ = false;
    sync_ended_.NotifyAll();
    XZFS_RETURN_IF_ERROR(synced);
    synced_id_ = std::max(synced_id_, through);
  }
  return {};
}

// Leaves only the claims that still hold.
Status Claims::Rewrite() {
  while (syncing_) {
    sync_ended_.Wait(mutex_);
  }
  std::string records;
  for (const auto& [id, live] : live_) {
    records += Sealed(id, live.claim);
  }
  XZFS_RETURN_IF_ERROR(file_.Rewrite(records));
  synced_id_ = last_id_;
  return {};
}

Result<std::vector<Claims::Recorded>> Claims::Read(Os& os, int folder, const std::string& path) {
  std::vector<Recorded> claims;
  const Result<std::string> bytes =
      ReadRecordFile(os, folder, ClaimsFile::kName, path + "/" + ClaimsFile::kName);
  if (!bytes) {
    return bytes.error().code == ENOENT ? Result<std::vector<Recorded>>(std::move(claims))
                                        : Failure(bytes.error());
  }
  std::map<uint64_t, Recorded> found;
  RecordParser records(*bytes);
  for (std::string body; records.Record(body) && !body.empty();) {
    RecordParser fields(std::string_view(body).substr(1));
    uint64_t id = 0;
    if (!fields.Number(id)) {
      break;
    }
    if (body[0] == static_cast<char>(Type::kDone)) {
      if (const auto it = found.find(id); it != found.end()) {
        it->second.done = true;
      }
    } else if (body[0] == static_cast<char>(Type::kClaim)) {
      if (auto claim = ParseClaim(fields)) {
        found.insert_or_assign(id, Recorded{std::move(*claim), false});
      }
    }
  }
  for (auto& [id, recorded] : found) {
    claims.push_back(std::move(recorded));
  }
  return claims;
}

}  // namespace xzfs
