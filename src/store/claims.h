// The records that say which files beside others are ours: the file `claims` of a session.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/os.h"
#include "store/claims_file.h"
#include "store/stored_key.h"
#include "xzfs/result.h"

namespace xzfs {

// Two files; one takes the place of the other: docs/format.md, "Claims".
struct Claim {
  enum class Kind : uint8_t {
    kTwin = 1,   // the new file gets the name `other`, beside the old one
    kAside = 2,  // the old file becomes `other` in the session's folder
  };
  Kind kind = Kind::kTwin;
  std::string dir;  // of `name`, below the source
  std::string name;
  std::string other;
  StoredKey made;  // the new file; inode 0: there is none
  StoredKey old;
  int64_t old_ctime_ns = 0;  // 0: not compared, as the file loses several names

  bool IsMade(const FileFacts& facts) const {
    return made.inode != 0 && made.Matches(StoredKey::Of(facts));
  }
  // `facts` are of the old file, and nothing of it has changed.
  bool IsOld(const FileFacts& facts) const;
  // The same, but only its content has not changed.
  bool HasContentOfOld(const FileFacts& facts) const { return old.Matches(StoredKey::Of(facts)); }
  // `facts` are of the old file, in a state before the claim: a power cut took what was never
  // synced. False if the file system has no birth times.
  bool IsEarlierOld(const FileFacts& facts) const;
  // The claim is of kind kTwin, and of `a` and `b` one is the new file and the other one the old
  // file.
  bool NamesBoth(const FileFacts& a, const FileFacts& b) const {
    return kind == Kind::kTwin && ((IsMade(a) && IsOld(b)) || (IsMade(b) && IsOld(a)));
  }
  bool operator==(const Claim&) const = default;
};

// Makes a claim with the keys of two open files. `made_file`: -1 if there is no new one.
Result<Claim> ClaimOn(Os& os, Claim::Kind kind, int old_file, int made_file);

class Claims;

// A claim that a thread is at work with. Movable. If it is destroyed without Done the claim still
// holds, and no thread is at work with it any more.
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
  // The claim is on the disk when this returns. Before that neither file may get a name. Blocks.
  Status Sync();
  // Ends the claim: what was done with the two files is on the disk.
  void Done();

 private:
  void LetGo();

  Claims* claims_ = nullptr;
  uint64_t id_ = 0;
  Claim claim_;
};

// An append-only file of records (store/records.h). Their fields are in docs/format.md, "Claims".
// Other mounts of the source read it while we write. So a claim stays in it until none holds any
// more and what was done in the folder is on the disk. Thread-safe.
class Claims {
 public:
  // As ClaimsFile.
  Claims(Os& os, int folder, std::string path) : file_(os, folder, std::move(path)) {}
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;

  // Writes a claim. This object outlives the result.
  Result<HeldClaim> Add(Claim claim) EXCLUDES(mutex_);
  // A claim that names both files.
  struct Match {
    uint64_t id = 0;
    Claim claim;
    bool at_work = false;
  };
  std::optional<Match> FindTwins(const FileFacts& a, const FileFacts& b) EXCLUDES(mutex_);
  void Forget(uint64_t id) EXCLUDES(mutex_);
  // Closes the file. REQUIRES: no claim holds any more.
  void Close() EXCLUDES(mutex_);

  // Reads the file in `folder`; an empty list if there is none. Reading ends at a torn record,
  // which was never synced. Records of later versions are left out.
  struct Recorded {
    Claim claim;
    bool done = false;
  };
  static Result<std::vector<Recorded>> Read(Os& os, int folder, const std::string& path);

 private:
  friend class HeldClaim;
  struct Live {
    Claim claim;
    bool at_work = true;
  };

  Status Sync(uint64_t id) EXCLUDES(mutex_);
  void LetGo(uint64_t id) EXCLUDES(mutex_);
  Status Rewrite() REQUIRES(mutex_);

  Mutex mutex_;
  CondVar sync_ended_;
  ClaimsFile file_ GUARDED_BY(mutex_);
  uint64_t last_id_ GUARDED_BY(mutex_) = 0;    // records are written in the order of ids
  uint64_t synced_id_ GUARDED_BY(mutex_) = 0;  // the records up to this id are on the disk
  bool syncing_ GUARDED_BY(mutex_) = false;    // one thread syncs for all
  std::map<uint64_t, Live> live_ GUARDED_BY(mutex_);
};

}  // namespace xzfs
