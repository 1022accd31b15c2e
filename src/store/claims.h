// What says that a file beside another is ours: the file `claims` of a session.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "store/stored_key.h"
#include "xzfs/result.h"

namespace xzfs {

// Two files, of which one takes the other's place.
struct Claim {
  enum class Kind : uint8_t {
    // The new file gets the name `other` beside the old one, which is `name`.
    kTwin = 1,
    // What is `name` gets the name `other` in the session's folder. The new file is there before
    // and has the old one's name then; or there is none.
    kAside = 2,
  };
  Kind kind = Kind::kTwin;
  std::string dir;  // of `name`, below the source
  std::string name;
  std::string other;
  StoredKey made;  // the new file; inode 0: there is none
  StoredKey old;
  int64_t old_ctime_ns = 0;  // 0: not compared, as the file loses names one after the other

  bool IsMade(const FileFacts& facts) const {
    return made.inode != 0 && made.Matches(StoredKey::Of(facts));
  }
  // Nothing of it has changed.
  bool IsOld(const FileFacts& facts) const;
  // Its content hasn't.
  bool HasContentOfOld(const FileFacts& facts) const { return old.Matches(StoredKey::Of(facts)); }
  // It is the old file with less than the claim saw: a power cut took what was never synced. False
  // where the file system has no birth times.
  bool IsEarlierOld(const FileFacts& facts) const;
  // It is of kind kTwin, one of the two is the new file and the other one the old.
  bool NamesBoth(const FileFacts& a, const FileFacts& b) const {
    return kind == Kind::kTwin && ((IsMade(a) && IsOld(b)) || (IsMade(b) && IsOld(a)));
  }
  bool operator==(const Claim&) const = default;
};

// The keys of a claim on two files that are open; -1: there is no new one.
Result<Claim> ClaimOn(Os& os, Claim::Kind kind, int old_file, int made_file);

class Claims;

// A claim while somebody is at work with it. Movable. When it goes without Done what the claim says
// still holds, for whoever meets the two files, and nobody is at work any more.
class HeldClaim {
 public:
  HeldClaim() = default;
  HeldClaim(Claims* claims, uint64_t id, Claim claim)
      : claims_(claims), id_(id), claim_(std::move(claim)) {}
  HeldClaim(HeldClaim&& other) noexcept;
  HeldClaim& operator=(HeldClaim&& other) noexcept;
  ~HeldClaim() { LetGo(); }

  bool held() const { return claims_ != nullptr; }
  const Claim& claim() const { return claim_; }
  // On the disk when it returns: before that none of the two files gets a name. Blocks.
  Status Sync();
  // It means nothing any more: what has happened with the two files is on the disk.
  void Done();

 private:
  void LetGo();

  Claims* claims_ = nullptr;
  uint64_t id_ = 0;
  Claim claim_;
};

// An append-only file of records (store/records.h). Their fields are in docs/format.md, "Claims".
// Other mounts of the source read it while we write: what is in it stays until none of it holds any
// more, and what was done in the folder is on the disk. Thread-safe.
class Claims {
 public:
  // `folder`, the session's, and `os` outlive it. `path`: of the folder, for messages.
  Claims(Os& os, int folder, std::string path) : os_(os), folder_(folder), path_(std::move(path)) {}
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;

  // Writes it down. Outlives what it returns.
  Result<HeldClaim> Add(Claim claim) EXCLUDES(mutex_);
  // One that names both files.
  struct Match {
    uint64_t id = 0;
    Claim claim;
    bool at_work = false;
  };
  std::optional<Match> FindTwins(const FileFacts& a, const FileFacts& b) EXCLUDES(mutex_);
  void Forget(uint64_t id) EXCLUDES(mutex_);
  // Closes the file. No claim holds any more.
  void Close() EXCLUDES(mutex_);

  // What the file in `folder` says; nothing if there is none. What is torn ends the reading, as it
  // was never synced; what later versions say is left out.
  struct Recorded {
    Claim claim;
    bool done = false;
  };
  static Result<std::vector<Recorded>> Read(Os& os, int folder, const std::string& path);

  static constexpr const char* kName = "claims";
  // Half a rewrite; of no use to anybody.
  static constexpr const char* kNewName = "claims.new";

 private:
  friend class HeldClaim;
  struct Live {
    Claim claim;
    bool at_work = true;
  };

  Status Sync(uint64_t id) EXCLUDES(mutex_);
  void LetGo(uint64_t id) EXCLUDES(mutex_);
  Status Open() REQUIRES(mutex_);
  Status Append(const std::string& record) REQUIRES(mutex_);
  Status Rewrite() REQUIRES(mutex_);
  bool IsTooLong() const REQUIRES(mutex_);

  Os& os_;
  const int folder_;
  const std::string path_;
  Mutex mutex_;
  CondVar sync_ended_;
  Descriptor file_ GUARDED_BY(mutex_);
  uint64_t end_ GUARDED_BY(mutex_) = 0;           // of the last whole record
  uint64_t rewritten_ GUARDED_BY(mutex_) = 0;     // what the last rewrite left, in bytes
  uint64_t last_id_ GUARDED_BY(mutex_) = 0;       // records are written in the order of their ids
  uint64_t synced_id_ GUARDED_BY(mutex_) = 0;     // up to this one they are on the disk
  bool is_named_ GUARDED_BY(mutex_) = false;      // and so is the file's name
  bool syncing_ GUARDED_BY(mutex_) = false;       // one thread does, for all
  bool must_rewrite_ GUARDED_BY(mutex_) = false;  // a sync failed: what it lost is written again
  std::map<uint64_t, Live> live_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
