// Each operation is: take the request apart, ask the Filesystem, reply once. No lock of ours is
// held across a reply, and the lookup count of a node is raised before the kernel can learn of it.
#include "frontend/fuse_operations.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <exception>
#include <new>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"

namespace xzfs {
namespace {

static_assert(kRootNode == FUSE_ROOT_ID);

// Reads of files with giant Blocks that are worked on at the same time: each may take seconds.
// Further ones queue and are done by the threads that become free, so that they never take all
// request threads.
constexpr unsigned kMostSlowReads = 16;

// What a thread keeps for its next read: the kernel's buffered reads come in 128 KiB. Direct ones
// may be 1 MiB, and so much for each of many threads would be outside of all accounting.
constexpr size_t kKeptBufferBytes = 128 << 10;

constexpr std::string_view kCommandPrefix = "user.xzfs.cmd.";

// The size of a control attribute may change between the call that asks for it and the one that
// fetches: so much is added to the first answer.
constexpr size_t kControlSlack = 256;

Caller CallerOf(fuse_req_t req) {
  const struct fuse_ctx* const context = fuse_req_ctx(req);
  return {context->uid, context->gid, context->umask};
}

FuseOperations& Of(fuse_req_t req) { return *static_cast<FuseOperations*>(fuse_req_userdata(req)); }

}  // namespace

WaitingRequests& FuseOperations::WaitingOf(fuse_req_t req) { return Of(req).waiting_; }

template <class Act>
bool FuseOperations::TryOnce(fuse_req_t req, Act& act, bool is_last) {
  FuseOperations& self = Of(req);
  Request request(req);
  try {
    const Status status = act(self, request);
    if (!status) {
      if (status.error().code == EWOULDBLOCK && !is_last) {
        return false;
      }
      LogFailure(status.error());
      request.Error(status.error().code);
    }
  } catch (const std::bad_alloc&) {
    request.Error(ENOMEM);
  } catch (const std::exception& e) {
    Log(LogLevel::kError, std::string("internal error: ") + e.what());
    request.Error(EIO);
  }
  return true;
}

template <class Act>
void FuseOperations::Run(fuse_req_t req, Act act) {
  TryOnce(req, act, /*is_last=*/true);
}

template <class Act>
void FuseOperations::RunRetried(fuse_req_t req, Act act) {
  if (!TryOnce(req, act, /*is_last=*/false)) {
    WaitingOf(req).Retry(req, [act = std::move(act)](fuse_req_t again, bool is_last) mutable {
      return TryOnce(again, act, is_last);
    });
  }
}

template <class Begin>
void FuseOperations::ParkFor(Request& request, WaitingRequests::Reply on_interrupt, Begin begin) {
  const WaitingRequests::Ticket ticket = waiting_.Park(request.get(), std::move(on_interrupt));
  request.End();
  try {
    begin(ticket);
  } catch (const std::bad_alloc&) {
    waiting_.End(ticket, [](fuse_req_t req) { fuse_reply_err(req, ENOMEM); });
  }
}

void FuseOperations::ReplyWhenStored(Request& request, NodeId node, WaitingRequests::Reply reply,
                                     WaitingRequests::Reply on_interrupt) {
  if (!filler_->IsStoring(node)) {
    reply(request.End());
    return;
  }
  ParkFor(request, std::move(on_interrupt), [&](WaitingRequests::Ticket ticket) {
    const auto end = [this, ticket, reply] { waiting_.End(ticket, reply); };
    if (!filler_->WhenStored(node, end)) {
      end();
    }
  });
}

struct fuse_entry_param FuseOperations::EntryOf(const LookupResult& found) const {
  struct fuse_entry_param entry = {};
  entry.ino = found.node;
  entry.attr = found.attributes;
  entry.attr_timeout = fs_.options().attr_timeout_s;
  entry.entry_timeout = fs_.options().entry_timeout_s;
  return entry;
}

void FuseOperations::Init(void* userdata, struct fuse_conn_info* conn) {
  // Replies come from our own buffers: splicing those through a pipe is slower than writing them.
  conn->want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  // Left to itself the kernel asks for attributes with the first part of a directory alone, when a
  // program reads all names before it asks for the first file's: find, tar and du do. Then each of
  // the others costs a request of its own.
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO);
  // Truncating by open is a request of its own, which tells what becomes of set-id bits.
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC);
  // The kernel's own readahead of many readers must not run into its default of 12.
  conn->max_background = 64;
  // The kernel decides who may do what (default_permissions); with this it asks for ACLs, too.
  const FuseOperations& self = *static_cast<FuseOperations*>(userdata);
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_POSIX_ACL);
  if ((conn->capable & FUSE_CAP_POSIX_ACL) != 0 && self.fs_.options().acl) {
    conn->want |= FUSE_CAP_POSIX_ACL;
  }
  // A default ACL takes the place of the umask, so that is left to us.
  conn->want |= conn->capable & FUSE_CAP_DONT_MASK;
  // The daemon may have the right to leave set-id bits in place when it writes for somebody who
  // hasn't: the kernel is to take them away.
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_HANDLE_KILLPRIV);
  if (self.on_ready_) {
    self.on_ready_();
  }
}

void FuseOperations::Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const LookupResult found, self.fs_.Lookup(parent, name));
    const struct fuse_entry_param entry = self.EntryOf(found);
    if (fuse_reply_entry(request.End(), &entry) == -ENOENT) {
      self.fs_.Forget(found.node, 1);  // the caller was interrupted and never learned of it
    }
    return {};
  });
}

void FuseOperations::Forget(fuse_req_t req, fuse_ino_t node, uint64_t count) {
  Of(req).fs_.Forget(node, count);
  fuse_reply_none(req);
}

void FuseOperations::ForgetMulti(fuse_req_t req, size_t count, struct fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) {
    Of(req).fs_.Forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(req);
}

void FuseOperations::GetAttr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info*) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const struct stat st, self.fs_.GetAttributes(node));
    fuse_reply_attr(request.End(), &st, self.fs_.options().attr_timeout_s);
    return {};
  });
}

void FuseOperations::ReadLink(fuse_req_t req, fuse_ino_t node) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const std::string target, self.fs_.ReadLink(node));
    fuse_reply_readlink(request.End(), target.c_str());
    return {};
  });
}

void FuseOperations::Open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi) {
  RunRetried(req, [node, info = *fi](FuseOperations& self, Request& request) mutable -> Status {
    bool keep_cache = false;
    XZFS_ASSIGN_OR_RETURN(std::unique_ptr<OpenFile> file,
                          self.fs_.Open(node, info.flags, &keep_cache));
    OpenFile* const opened = file.get();
    const bool may_write = file->may_write();
    self.Hand(std::move(file), keep_cache, &info);
    const auto reply = [&self, opened, info](fuse_req_t ending) {
      if (fuse_reply_open(ending, &info) == -ENOENT) {
        // The caller was interrupted: no release will come.
        self.fs_.Close(self.TakeBack(opened));
      }
    };
    if (!may_write) {
      reply(request.End());
      return {};
    }
    self.ReplyWhenStored(request, node, reply, [&self, opened](fuse_req_t interrupted) {
      self.fs_.Close(self.TakeBack(opened));
      fuse_reply_err(interrupted, EINTR);
    });
    return {};
  });
}

void FuseOperations::Hand(std::unique_ptr<OpenFile> opened, bool keep_cache,
                          struct fuse_file_info* fi) {
  fi->keep_cache = keep_cache ? 1 : 0;
  // The release comes after close has returned. Who closes a file and then waits until nothing is
  // pending must not be told so before we have heard of it.
  fi->noflush = opened->may_write() ? 0 : 1;
  fi->fh = reinterpret_cast<uint64_t>(opened.get());
  Keep(std::move(opened));
}

void FuseOperations::Read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset,
                          struct fuse_file_info* fi) {
  FuseOperations& self = Of(req);
  if (offset < 0) {
    fuse_reply_err(req, EINVAL);
    return;
  }
  const Result<OpenFile*> file = self.FileOf(fi);
  if (!file) {
    fuse_reply_err(req, file.error().code);
    return;
  }
  PendingRead next{req, *file, static_cast<uint64_t>(offset), size};
  if (!next.file->node()->has_giant_blocks) {
    ReadNow(next);
    return;
  }
  {
    MutexLock lock(self.reads_mutex_);
    if (self.slow_reads_ == kMostSlowReads) {
      self.pending_reads_.push_back(next);
      return;
    }
    ++self.slow_reads_;
  }
  for (;;) {
    ReadNow(next);
    MutexLock lock(self.reads_mutex_);
    if (self.pending_reads_.empty()) {
      --self.slow_reads_;
      return;
    }
    next = self.pending_reads_.front();
    self.pending_reads_.pop_front();
  }
}

void FuseOperations::ReadNow(const PendingRead& read) {
  Run(read.req, [&](FuseOperations& self, Request& request) -> Status {
    thread_local std::vector<std::byte> buffer;
    std::vector<XzReader::Piece> lent;
    XZFS_ASSIGN_OR_RETURN(const size_t got,
                          self.fs_.Read(*read.file, read.offset, read.size, buffer, lent));
    std::vector<struct iovec> reply{{buffer.data(), got}};
    for (const XzReader::Piece& piece : lent) {
      // libfuse only reads from it.
      reply.push_back({const_cast<std::byte*>(piece.bytes.data()), piece.bytes.size()});
    }
    fuse_reply_iov(request.End(), reply.data(), static_cast<int>(reply.size()));
    if (buffer.size() > kKeptBufferBytes) {
      std::vector<std::byte>().swap(buffer);
    }
    return {};
  });
}

void FuseOperations::Release(fuse_req_t req, fuse_ino_t, struct fuse_file_info* fi) {
  FuseOperations& self = Of(req);
  if (std::unique_ptr<OpenFile> file = self.TakeBack(reinterpret_cast<OpenFile*>(fi->fh))) {
    self.fs_.Close(std::move(file));
  }
  fuse_reply_err(req, 0);
}

void FuseOperations::Keep(std::unique_ptr<OpenFile> file) {
  MutexLock lock(files_mutex_);
  OpenFile* const key = file.get();
  files_.emplace(key, std::move(file));
}

Result<OpenFile*> FuseOperations::FileOf(const struct fuse_file_info* fi) {
  const auto file = reinterpret_cast<OpenFile*>(fi->fh);
  MutexLock lock(files_mutex_);
  if (!files_.contains(file)) {
    return Fail(EBADF, "a handle that isn't open");
  }
  return file;
}

std::unique_ptr<OpenFile> FuseOperations::TakeBack(OpenFile* file) {
  MutexLock lock(files_mutex_);
  auto node = files_.extract(file);
  return node.empty() ? nullptr : std::move(node.mapped());
}

void FuseOperations::OpenDir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi) {
  // Without this operation the kernel would cache listings for ever.
  FuseOperations& self = Of(req);
  fi->fh = 0;
  if (std::shared_ptr<Listing> listing = self.fs_.OpenListing(node)) {
    MutexLock lock(self.files_mutex_);
    fi->fh = ++self.last_listing_;
    self.listings_.emplace(fi->fh, std::move(listing));
  }
  const uint64_t handle = fi->fh;
  if (fuse_reply_open(req, fi) == -ENOENT) {
    self.DropListing(handle);
  }
}

void FuseOperations::ReleaseDir(fuse_req_t req, fuse_ino_t, struct fuse_file_info* fi) {
  Of(req).DropListing(fi->fh);
  fuse_reply_err(req, 0);
}

void FuseOperations::DropListing(uint64_t handle) {
  std::shared_ptr<Listing> dropped;  // after the lock
  MutexLock lock(files_mutex_);
  if (auto node = listings_.extract(handle)) {
    dropped = std::move(node.mapped());
  }
}

std::shared_ptr<Listing> FuseOperations::ListingOf(const struct fuse_file_info* fi) {
  MutexLock lock(files_mutex_);
  const auto it = listings_.find(fi->fh);
  return it == listings_.end() ? nullptr : it->second;
}

void FuseOperations::ReadDir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                             struct fuse_file_info* fi) {
  List(req, node, size, offset, fi, /*plus=*/false);
}

void FuseOperations::ReadDirPlus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                                 struct fuse_file_info* fi) {
  List(req, node, size, offset, fi, /*plus=*/true);
}

void FuseOperations::List(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                          const struct fuse_file_info* fi, bool plus) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    std::vector<char> reply(size);
    size_t used = 0;
    std::vector<NodeId> counted;
    const auto add = [&](const DirectoryLine& line) {
      struct fuse_entry_param entry = {};
      if (line.lookup) {
        entry = self.EntryOf(*line.lookup);
      } else {
        entry.attr.st_ino = line.inode;
        entry.attr.st_mode = static_cast<mode_t>(DTTOIF(line.type));
      }
      const auto next = static_cast<off_t>(line.next_offset);
      const size_t need = plus
                              ? fuse_add_direntry_plus(request.get(), reply.data() + used,
                                                       size - used, line.name.c_str(), &entry, next)
                              : fuse_add_direntry(request.get(), reply.data() + used, size - used,
                                                  line.name.c_str(), &entry.attr, next);
      if (need > size - used) {
        return false;
      }
      used += need;
      if (line.lookup) {
        counted.push_back(line.lookup->node);
      }
      return true;
    };
    const std::shared_ptr<Listing> listing = self.ListingOf(fi);
    Status listed =
        self.fs_.ReadDirectory(node, listing.get(), static_cast<uint64_t>(offset), plus, size, add);
    if (!listed) {
      for (const NodeId id : counted) {
        self.fs_.Forget(id, 1);
      }
      return listed;
    }
    if (fuse_reply_buf(request.End(), reply.data(), used) == -ENOENT) {
      for (const NodeId id : counted) {
        self.fs_.Forget(id, 1);
      }
    }
    return {};
  });
}

void FuseOperations::StatFs(fuse_req_t req, fuse_ino_t) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const struct statvfs st, self.fs_.StatVfs());
    fuse_reply_statfs(request.End(), &st);
    return {};
  });
}

void FuseOperations::ReplyXattr(fuse_req_t req, const std::string& value, size_t size,
                                size_t slack) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size() + slack);
  } else if (value.size() > size) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, value.data(), value.size());
  }
}

void FuseOperations::GetXattr(fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    const std::string key(name);
    if (key.starts_with(kCommandPrefix)) {
      self.RunCommand(request, node, key, size);
      return {};
    }
    XZFS_ASSIGN_OR_RETURN(const std::string value, self.fs_.GetXattr(node, key));
    ReplyXattr(request.End(), value, size, key.starts_with("user.xzfs.") ? kControlSlack : 0);
    return {};
  });
}

// It may wait for commits.
void FuseOperations::RunCommand(Request& request, NodeId node, const std::string& key,
                                size_t size) {
  const Caller caller = CallerOf(request.get());
  ParkFor(
      request, [](fuse_req_t interrupted) { fuse_reply_err(interrupted, EINTR); },
      [&](WaitingRequests::Ticket ticket) {
        fs_.RunCommand(node, key, caller, [this, ticket, size](const Result<std::string>& value) {
          waiting_.End(ticket, [&](fuse_req_t ending) {
            if (value) {
              ReplyXattr(ending, *value, size, kControlSlack);
            } else {
              LogFailure(value.error());
              fuse_reply_err(ending, ReplyCode(value.error().code));
            }
          });
        });
      });
}

void FuseOperations::ListXattr(fuse_req_t req, fuse_ino_t node, size_t size) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const std::string names,
                          self.fs_.ListXattr(node, CallerOf(req).uid == 0));
    ReplyXattr(request.End(), names, size, 0);
    return {};
  });
}

template <class Act>
void FuseOperations::RunStatus(fuse_req_t req, Act act) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_RETURN_IF_ERROR(act(self));
    request.Error(0);
    return {};
  });
}

template <class Act>
void FuseOperations::RunEntry(fuse_req_t req, Act act) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const LookupResult found, act(self, CallerOf(request.get())));
    const struct fuse_entry_param entry = self.EntryOf(found);
    if (fuse_reply_entry(request.End(), &entry) == -ENOENT) {
      self.fs_.Forget(found.node, 1);
    }
    return {};
  });
}

void FuseOperations::SetXattr(fuse_req_t req, fuse_ino_t node, const char* name, const char* value,
                              size_t size, int flags) {
  RunStatus(req, [&](FuseOperations& self) {
    return self.fs_.SetXattr(node, name, {value, size}, flags);
  });
}

void FuseOperations::RemoveXattr(fuse_req_t req, fuse_ino_t node, const char* name) {
  RunStatus(req, [&](FuseOperations& self) { return self.fs_.RemoveXattr(node, name); });
}

void FuseOperations::SetAttr(fuse_req_t req, fuse_ino_t node, struct stat* attr, int to_set,
                             struct fuse_file_info* fi) {
  const std::optional<struct fuse_file_info> info =
      fi == nullptr ? std::nullopt : std::optional(*fi);
  RunRetried(req, [=, asked = *attr](FuseOperations& self, Request& request) -> Status {
    const struct timespec now = {.tv_sec = 0, .tv_nsec = UTIME_NOW};
    Filesystem::AttributeChange change;
    if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
      change.mode = asked.st_mode;
    }
    if ((to_set & FUSE_SET_ATTR_UID) != 0) {
      change.uid = asked.st_uid;
    }
    if ((to_set & FUSE_SET_ATTR_GID) != 0) {
      change.gid = asked.st_gid;
    }
    if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
      change.size = static_cast<uint64_t>(asked.st_size);
    }
    if ((to_set & FUSE_SET_ATTR_ATIME) != 0) {
      change.atime = (to_set & FUSE_SET_ATTR_ATIME_NOW) != 0 ? now : asked.st_atim;
    }
    if ((to_set & FUSE_SET_ATTR_MTIME) != 0) {
      change.mtime = (to_set & FUSE_SET_ATTR_MTIME_NOW) != 0 ? now : asked.st_mtim;
    }
    OpenFile* file = nullptr;
    if (info) {
      XZFS_ASSIGN_OR_RETURN(file, self.FileOf(&*info));
    }
    XZFS_ASSIGN_OR_RETURN(const struct stat st, self.fs_.SetAttributes(node, change, file));
    const auto reply = [st, timeout = self.fs_.options().attr_timeout_s](fuse_req_t ending) {
      fuse_reply_attr(ending, &st, timeout);
    };
    if (change.size) {
      self.ReplyWhenStored(request, node, reply, nullptr);
    } else {
      reply(request.End());
    }
    return {};
  });
}

void FuseOperations::MkNod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                           dev_t device) {
  RunEntry(req, [&](FuseOperations& self, const Caller& caller) {
    return self.fs_.MakeNode(parent, name, mode, device, caller);
  });
}

void FuseOperations::MkDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  RunEntry(req, [&](FuseOperations& self, const Caller& caller) {
    return self.fs_.MakeDirectory(parent, name, mode, caller);
  });
}

void FuseOperations::SymLink(fuse_req_t req, const char* target, fuse_ino_t parent,
                             const char* name) {
  RunEntry(req, [&](FuseOperations& self, const Caller& caller) {
    return self.fs_.MakeSymlink(parent, name, target, caller);
  });
}

void FuseOperations::Link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  RunEntry(req,
           [&](FuseOperations& self, const Caller&) { return self.fs_.Link(node, parent, name); });
}

void FuseOperations::Unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  RunStatus(req, [&](FuseOperations& self) { return self.fs_.Unlink(parent, name); });
}

void FuseOperations::RmDir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  RunStatus(req, [&](FuseOperations& self) { return self.fs_.RemoveDirectory(parent, name); });
}

void FuseOperations::Rename(fuse_req_t req, fuse_ino_t parent, const char* name,
                            fuse_ino_t new_parent, const char* new_name, unsigned flags) {
  RunStatus(req, [&](FuseOperations& self) {
    return self.fs_.Rename(parent, name, new_parent, new_name, flags);
  });
}

void FuseOperations::Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                            struct fuse_file_info* fi) {
  RunRetried(req,
             [parent, file_name = std::string(name), mode, info = *fi](
                 FuseOperations& self, Request& request) mutable -> Status {
               std::unique_ptr<OpenFile> file;
               XZFS_ASSIGN_OR_RETURN(const LookupResult found,
                                     self.fs_.Create(parent, file_name, mode, info.flags,
                                                     CallerOf(request.get()), &file));
               OpenFile* const opened = file.get();
               self.Hand(std::move(file), /*keep_cache=*/false, &info);
               const auto give_up = [&self, opened, node = found.node] {
                 self.fs_.Close(self.TakeBack(opened));
                 self.fs_.Forget(node, 1);
               };
               self.ReplyWhenStored(
                   request, found.node,
                   [give_up, entry = self.EntryOf(found), info](fuse_req_t ending) {
                     if (fuse_reply_create(ending, &entry, &info) == -ENOENT) {
                       give_up();
                     }
                   },
                   [give_up](fuse_req_t interrupted) {
                     give_up();
                     fuse_reply_err(interrupted, EINTR);
                   });
               return {};
             });
}

void FuseOperations::Write(fuse_req_t req, fuse_ino_t, const char* bytes, size_t size, off_t offset,
                           struct fuse_file_info* fi) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    if (offset < 0) {
      return Fail(EINVAL, "a negative offset");
    }
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    const auto at = static_cast<uint64_t>(offset);
    const auto content = std::as_bytes(std::span(bytes, size));
    // What is written back of a mapping has its place.
    if ((fi->flags & O_APPEND) == 0 || fi->writepage != 0) {
      XZFS_ASSIGN_OR_RETURN(const size_t written, self.fs_.Write(*file, at, content));
      fuse_reply_write(request.End(), written);
      return {};
    }
    const NodeId node = file->id();
    XZFS_ASSIGN_OR_RETURN(const Filesystem::Appended done, self.fs_.Append(*file, at, content));
    fuse_reply_write(request.End(), done.bytes);
    if (done.stale_from) {
      self.fs_.TellStale(node, *done.stale_from);  // not before: the kernel has them by now
    }
    return {};
  });
}

// With sync_close it waits for the commit. A signal doesn't end the wait: programs take a close
// that fails for lost data.
void FuseOperations::Flush(fuse_req_t req, fuse_ino_t, struct fuse_file_info* fi) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    XZFS_ASSIGN_OR_RETURN(const bool must_wait, self.fs_.Flush(*file));
    if (!must_wait) {
      request.Error(0);
      return {};
    }
    self.ParkFor(request, nullptr, [&](WaitingRequests::Ticket ticket) {
      self.fs_.CommitNow(file->id(), [&self, ticket](const Status& committed) {
        self.waiting_.End(ticket, [&](fuse_req_t ending) {
          if (!committed) {
            LogFailure(committed.error());
          }
          fuse_reply_err(ending, committed ? 0 : ReplyCode(committed.error().code));
        });
      });
    });
    return {};
  });
}

void FuseOperations::FSync(fuse_req_t req, fuse_ino_t, int only_data, struct fuse_file_info* fi) {
  RunStatus(req, [&](FuseOperations& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    return self.fs_.Sync(*file, only_data != 0);
  });
}

void FuseOperations::FSyncDir(fuse_req_t req, fuse_ino_t node, int, struct fuse_file_info*) {
  RunStatus(req, [&](FuseOperations& self) { return self.fs_.SyncDirectory(node); });
}

void FuseOperations::FAllocate(fuse_req_t req, fuse_ino_t, int mode, off_t offset, off_t length,
                               struct fuse_file_info* fi) {
  RunStatus(req, [&](FuseOperations& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    return self.fs_.Allocate(*file, mode, static_cast<uint64_t>(offset),
                             static_cast<uint64_t>(length));
  });
}

void FuseOperations::LSeek(fuse_req_t req, fuse_ino_t, off_t offset, int whence,
                           struct fuse_file_info* fi) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    XZFS_ASSIGN_OR_RETURN(const uint64_t at,
                          self.fs_.Seek(*file, static_cast<uint64_t>(offset), whence));
    fuse_reply_lseek(request.End(), static_cast<off_t>(at));
    return {};
  });
}

struct fuse_lowlevel_ops FuseOperations::Table() {
  struct fuse_lowlevel_ops ops = {};
  ops.init = Init;
  ops.lookup = Lookup;
  ops.forget = Forget;
  ops.forget_multi = ForgetMulti;
  ops.getattr = GetAttr;
  ops.readlink = ReadLink;
  ops.open = Open;
  ops.read = Read;
  ops.release = Release;
  ops.opendir = OpenDir;
  ops.releasedir = ReleaseDir;
  ops.readdir = ReadDir;
  ops.readdirplus = ReadDirPlus;
  ops.statfs = StatFs;
  ops.getxattr = GetXattr;
  ops.listxattr = ListXattr;
  ops.setxattr = SetXattr;
  ops.removexattr = RemoveXattr;
  ops.setattr = SetAttr;
  ops.mknod = MkNod;
  ops.mkdir = MkDir;
  ops.symlink = SymLink;
  ops.link = Link;
  ops.unlink = Unlink;
  ops.rmdir = RmDir;
  ops.rename = Rename;
  ops.create = Create;
  ops.write = Write;
  ops.flush = Flush;
  ops.fsync = FSync;
  ops.fsyncdir = FSyncDir;
  ops.fallocate = FAllocate;
  ops.lseek = LSeek;
  return ops;
}

}  // namespace xzfs
