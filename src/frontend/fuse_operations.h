// What the kernel asks, answered by the Filesystem.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/mutex.h"
#include "fs/filesystem.h"

namespace xzfs {

// The operations of one FUSE session: each takes the request apart, asks the Filesystem and replies
// once. Thread-safe. Outlives its session; open files that the session leaves behind go with it.
class FuseOperations {
 public:
  // `on_ready` is called when the kernel's INIT has arrived.
  FuseOperations(Filesystem& filesystem, std::function<void()> on_ready)
      : fs_(filesystem), on_ready_(std::move(on_ready)) {}

  // For fuse_session_new, with this object as its userdata.
  static struct fuse_lowlevel_ops Table();

 private:
  // Runs one operation: `act` replies itself on success, an Error that it returns is replied here.
  template <class Act>
  static void Run(fuse_req_t req, Act act);

  struct fuse_entry_param EntryOf(const LookupResult& found) const;

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
  static void ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                      struct fuse_file_info* fi);
  static void ReadDirPlus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                          struct fuse_file_info* fi);
  static void List(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, bool plus);
  static void StatFs(fuse_req_t req, fuse_ino_t node);
  static void GetXattr(fuse_req_t req, fuse_ino_t node, const char* name, size_t size);
  static void ListXattr(fuse_req_t req, fuse_ino_t node, size_t size);
  static void ReplyXattr(fuse_req_t req, const std::string& value, size_t size, size_t slack);

  // A read that is being worked on or waits for its turn.
  struct PendingRead {
    fuse_req_t req;
    const OpenFile* file;  // the kernel releases it after the read was answered
    uint64_t offset;
    size_t size;
  };
  static void ReadNow(const PendingRead& read);

  // Owns what the kernel knows as a handle, also when the session ends without releasing it.
  void Keep(std::unique_ptr<OpenFile> file) EXCLUDES(files_mutex_);
  std::unique_ptr<OpenFile> TakeBack(OpenFile* file) EXCLUDES(files_mutex_);

  Filesystem& fs_;
  const std::function<void()> on_ready_;
  Mutex reads_mutex_;
  unsigned slow_reads_ GUARDED_BY(reads_mutex_) = 0;  // threads that work on them
  std::deque<PendingRead> pending_reads_ GUARDED_BY(reads_mutex_);
  Mutex files_mutex_;
  std::unordered_map<OpenFile*, std::unique_ptr<OpenFile>> files_ GUARDED_BY(files_mutex_);
};

}  // namespace xzfs
