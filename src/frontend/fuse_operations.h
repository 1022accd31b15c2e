// Answers the kernel's requests through the parts of a Mount.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"
#include "frontend/last_request.h"
#include "frontend/page_cache_filler.h"
#include "frontend/request.h"
#include "frontend/slow_requests.h"
#include "frontend/waiting_requests.h"
#include "fs/mount.h"

namespace xzfs {

// The operations of one FUSE session: each takes the request apart, asks the Mount and replies
// once. Thread-safe. Outlives its session; closes open files that the session leaves behind.
class FuseOperations {
 public:
  // `on_ready` is called when the kernel's INIT has arrived.
  FuseOperations(Mount& mount, std::shared_ptr<PageCacheFiller> filler,
                 std::function<void()> on_ready)
      : mount_(mount), filler_(std::move(filler)), on_ready_(std::move(on_ready)) {}

  // For fuse_session_new, with this object as its userdata.
  static struct fuse_lowlevel_ops Table();

  // When the kernel last asked for something.
  LastRequest& last_request() { return last_request_; }

  // Requests that hold no thread while they wait.
  WaitingRequests& waiting() { return waiting_; }
  static WaitingRequests& WaitingOf(fuse_req_t req);

 private:
  // An operation of the table that shows that the mount is in use.
  template <auto kOperation, class... Arguments>
  static void Use(fuse_req_t req, Arguments... arguments);
  // Runs one operation. `act` replies itself on success; if it returns an Error this function
  // replies that.
  template <class Act>
  static void Run(fuse_req_t req, Act act);
  // The same, but tries again later while another mount is at the last steps of a commit of the
  // file (EWOULDBLOCK). `act` owns what it needs.
  template <class Act>
  static void RunRetried(fuse_req_t req, Act act);
  // False if the request must be tried again.
  template <class Act>
  static bool TryOnce(fuse_req_t req, Act& act, AttemptKind kind);
  // Parks the request and calls `begin` with its ticket. `begin` makes sure that the request is
  // answered.
  template <class Begin>
  void ParkFor(Request& request, WaitingRequests::Reply on_interrupt, Begin begin);
  // Calls `reply` when no bytes of the node that were decoded before the file could change are
  // being stored in the kernel's page cache.
  void ReplyWhenStored(Request& request, NodeId node, WaitingRequests::Reply reply,
                       WaitingRequests::Reply on_interrupt);

  struct fuse_entry_param EntryOf(const LookupResult& found) const;

  void ReplyEntry(fuse_req_t req, const LookupResult& found);

  static void Init(void* userdata, struct fuse_conn_info* conn);
  static void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name);
  static void Forget(fuse_req_t req, fuse_ino_t node, uint64_t count);
  static void ForgetMulti(fuse_req_t req, size_t count, struct fuse_forget_data* forgets);
  static void GetAttr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void ReadLink(fuse_req_t req, fuse_ino_t node);
  static void Open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void Read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                   struct fuse_file_info* fi);
  static void Release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void OpenDir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void ReleaseDir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                      struct fuse_file_info* fi);
  static void ReadDirPlus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                          struct fuse_file_info* fi);
  static void List(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                   const struct fuse_file_info* fi, ListingKind kind);
  static void StatFs(fuse_req_t req, fuse_ino_t node);
  static void GetXattr(fuse_req_t req, fuse_ino_t node, const char* name, size_t size);
  Result<std::string> GetXattrNow(NodeId node, const std::string& key);
  void RunCommand(Request& request, NodeId node, const std::string& key, size_t size);
  static void ListXattr(fuse_req_t req, fuse_ino_t node, size_t size);
  static void SetXattr(fuse_req_t req, fuse_ino_t node, const char* name, const char* value,
                       size_t size, int flags);
  static void RemoveXattr(fuse_req_t req, fuse_ino_t node, const char* name);
  static void SetAttr(fuse_req_t req, fuse_ino_t node, struct stat* attr, int to_set,
                      struct fuse_file_info* fi);
  static void MkNod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
  static void MkDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode);
  static void SymLink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name);
  static void Link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char* name);
  static void Unlink(fuse_req_t req, fuse_ino_t parent, const char* name);
  static void RmDir(fuse_req_t req, fuse_ino_t parent, const char* name);
  static void Rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                     const char* new_name, unsigned flags);
  static void Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                     struct fuse_file_info* fi);
  static void Write(fuse_req_t req, fuse_ino_t node, const char* bytes, size_t size, off_t offset,
                    struct fuse_file_info* fi);
  static void Flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi);
  static void FSync(fuse_req_t req, fuse_ino_t node, int only_data, struct fuse_file_info* fi);
  static void FSyncDir(fuse_req_t req, fuse_ino_t node, int only_data, struct fuse_file_info* fi);
  static void FAllocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
                        struct fuse_file_info* fi);
  static void LSeek(fuse_req_t req, fuse_ino_t node, off_t offset, int whence,
                    struct fuse_file_info* fi);
  // Runs `act`, and replies with its result or with success.
  template <class Act>
  static void RunEntry(fuse_req_t req, Act act);
  template <class Act>
  static void RunStatus(fuse_req_t req, Act act);
  static void ReplyXattr(fuse_req_t req, const std::string& value, size_t size, size_t slack);

  // Reads of files with giant Blocks: each may take seconds. Only some run at once; the others
  // queue for those threads, so that they never take all request threads.
  static constexpr unsigned kMostSlowReads = 16;
  // Lookups of files of the older formats, which may be decoded whole: each may take minutes.
  static constexpr unsigned kMostSlowLooks = 4;
  // Parks the request, and runs `act` when there is a thread for it. `act` returns a function that
  // replies, and one that undoes the result if the request was interrupted.
  struct LateReply {
    WaitingRequests::Reply reply;
    std::function<void()> undo = nullptr;
  };
  void RunSlowly(Request& request, std::function<LateReply()> act);

  // A read.
  struct PendingRead {
    fuse_req_t req;
    const OpenFile* file;  // the kernel releases it only after the reply
    uint64_t offset;
    size_t size;
  };
  static void ReadNow(const PendingRead& read);

  // Owns the handles of the kernel, also when the session ends without releasing them.
  void Keep(std::unique_ptr<OpenFile> file) EXCLUDES(files_mutex_);
  // Fills `fi` from `opened`, and keeps the file.
  void Hand(Handles::Opened opened, struct fuse_file_info* fi);
  // Null if there is none: then nothing is remembered for that listing.
  std::shared_ptr<Listing> ListingOf(const struct fuse_file_info* fi) EXCLUDES(files_mutex_);
  void DropListing(uint64_t handle) EXCLUDES(files_mutex_);
  // The file of a handle number, until the kernel releases it. EBADF if there is none.
  Result<OpenFile*> FileOf(const struct fuse_file_info* fi) EXCLUDES(files_mutex_);
  std::unique_ptr<OpenFile> TakeBack(OpenFile* file) EXCLUDES(files_mutex_);

  Mount& mount_;
  const std::shared_ptr<PageCacheFiller> filler_;
  const std::function<void()> on_ready_;
  LastRequest last_request_;
  WaitingRequests waiting_;
  SlowRequests slow_reads_{kMostSlowReads};
  SlowRequests slow_looks_{kMostSlowLooks};
  Mutex files_mutex_;
  std::unordered_map<OpenFile*, std::unique_ptr<OpenFile>> files_ GUARDED_BY(files_mutex_);
  uint64_t last_listing_ GUARDED_BY(files_mutex_) = 0;
  std::unordered_map<uint64_t, std::shared_ptr<Listing>> listings_ GUARDED_BY(files_mutex_);
};

}  // namespace xzfs
