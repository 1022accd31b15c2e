// A claim is on the disk before one of its two files gets the other's name, so whoever sees both
// finds it: a listing in another mount, and the next mount after a crash. Nothing is lost if an old
// claim comes back after a power cut, or stays: it counts only as long as both files are what it
// says. That one is done is not synced: a file that was put aside, and then removed, may come back
// with a power cut, and then the record, done or not, tells what it is.
#include "store/claims.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string_view>
#include <utility>

#include "base/try.h"
#include "store/names.h"
#include "store/record_file.h"
#include "store/records.h"
#include "store/xz_writer.h"

namespace xzfs {
namespace {

enum class Type : uint8_t { kClaim = 1, kDone = 2 };

// A claim takes 200 bytes and its names: this are the claims of a batch of xzfsctl.
constexpr uint64_t kLeastRewrite = uint64_t{64} << 10;
constexpr uint64_t kLeastTruncation = uint64_t{16} << 10;

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

// Files are removed by them: nothing may lead out of the directory.
bool IsName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
}

// Nothing if the fields are none of ours.
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
  if (must_rewrite_ || IsTooLong()) {
    XZFS_RETURN_IF_ERROR(Rewrite());
  }
  XZFS_RETURN_IF_ERROR(Open());
  XZFS_RETURN_IF_ERROR(Append(Sealed(last_id_ + 1, claim)));
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

// What can't be written here only leaves a claim that means nothing.
void Claims::Forget(uint64_t id) {
  MutexLock lock(mutex_);
  if (live_.erase(id) == 0) {
    return;
  }
  (void)Append(SealedDone(id));
  if (live_.empty() && end_ > kLeastTruncation && !syncing_ && os_.Sync(folder_) == 0 &&
      os_.Truncate(file_.get(), 0) == 0) {
    end_ = 0;
    rewritten_ = 0;
  }
}

void Claims::Close() {
  MutexLock lock(mutex_);
  file_ = Descriptor();
}

Status Claims::Open() {
  if (file_.valid()) {
    return {};
  }
  const int fd = os_.OpenBeneath(folder_, kName, O_RDWR | O_CREAT | O_EXCL, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "make " + path_ + "/" + kName);
  }
  file_ = Descriptor(os_, fd);
  return {};
}

// At the end that we know: what a failed write left there is overwritten.
Status Claims::Append(const std::string& record) {
  XZFS_RETURN_IF_ERROR(WriteFully(os_, file_.get(), BytesOf(record), end_));
  end_ += record.size();
  return {};
}

// One sync serves all who wait: those who come while it runs wait for the next one together.
Status Claims::Sync(uint64_t id) {
  MutexLock lock(mutex_);
  while (synced_id_ < id) {
    if (syncing_) {
      sync_ended_.Wait(mutex_);
      continue;
    }
    if (must_rewrite_) {
      XZFS_RETURN_IF_ERROR(Rewrite());
      continue;
    }
    syncing_ = true;
    const uint64_t through = last_id_;
    const bool is_named = is_named_;
    const int fd = file_.get();
    mutex_.Unlock();
    int error = os_.SyncData(fd);
    if (error == 0 && !is_named) {
      error = os_.Sync(folder_);
    }
    mutex_.Lock();
    syncing_ = false;
    sync_ended_.NotifyAll();
    if (error < 0) {
      must_rewrite_ = true;
      return FailErrno(-error, "sync " + path_ + "/" + kName);
    }
    is_named_ = true;
    synced_id_ = std::max(synced_id_, through);
  }
  return {};
}

bool Claims::IsTooLong() const { return end_ > kLeastRewrite && end_ > 2 * rewritten_; }

// The file again, with what still holds. It is complete and on the disk before it has the name.
Status Claims::Rewrite() {
  while (syncing_) {
    sync_ended_.Wait(mutex_);
  }
  std::string bytes;
  for (const auto& [id, live] : live_) {
    bytes += Sealed(id, live.claim);
  }
  const std::string what = "write " + path_ + "/" + kName + " anew";
  if (const int error = os_.Sync(folder_); error < 0) {
    return FailErrno(-error, what);
  }
  const int fd = os_.OpenBeneath(folder_, kNewName, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, what);
  }
  Descriptor fresh(os_, fd);
  XZFS_RETURN_IF_ERROR(WriteFully(os_, fd, BytesOf(bytes), 0));
  int error = os_.Sync(fd);
  if (error == 0) {
    error = os_.Rename(folder_, kNewName, folder_, kName, 0);
  }
  if (error < 0) {
    os_.Unlink(folder_, kNewName, 0);
    return FailErrno(-error, what);
  }
  file_ = std::move(fresh);
  end_ = rewritten_ = bytes.size();
  if (error = os_.Sync(folder_); error < 0) {
    must_rewrite_ = true;
    return FailErrno(-error, what);
  }
  must_rewrite_ = false;
  is_named_ = true;
  synced_id_ = last_id_;
  return {};
}

Result<std::vector<Claims::Recorded>> Claims::Read(Os& os, int folder, const std::string& path) {
  std::vector<Recorded> claims;
  const Result<std::string> bytes = ReadRecordFile(os, folder, kName, path + "/" + kName);
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
