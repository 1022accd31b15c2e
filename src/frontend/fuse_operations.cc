// Each operation takes the request apart, asks a part of the mount, and replies once. No lock of
// ours is held across a reply, and the lookup count of a node is raised before the kernel can learn
// of it.
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

#include "base/caller.h"
#include "base/try.h"
#include "frontend/fuse_run.h"

namespace xzfs {
namespace {

static_assert(kRootNode == FUSE_ROOT_ID);

// The size of the buffer that a thread keeps for its next read: the kernel's buffered reads have
// 128 KiB. Direct ones may have 1 MiB, but that much for each of many threads would exceed the
// memory budget, which does not count it.
constexpr size_t kKeptBufferBytes = 128 << 10;

constexpr std::string_view kCommandPrefix = "user.xzfs.cmd.";

// The size of a control attribute may change between the call that asks for it and the one that
// fetches: this is added to the first answer.
constexpr size_t kControlSlack = 256;

}  // namespace

struct fuse_entry_param FuseOperations::EntryOf(const LookupResult& found) const {
  struct fuse_entry_param entry = {};
  entry.ino = found.node;
  entry.attr = found.attributes;
  entry.attr_timeout = mount_.options.attr_timeout_s;
  entry.entry_timeout = mount_.options.entry_timeout_s;
  return entry;
}

void FuseOperations::Init(void* userdata, struct fuse_conn_info* conn) {
  // Replies come from our own buffers: splicing those through a pipe is slower than writing them.
  conn->want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  // By default the kernel asks for attributes only with the first part of a directory if a program
  // reads all names before it asks for the first attributes, as find, tar and du do. Then each
  // other file costs a request of its own.
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS_AUTO);
  // Opening with O_TRUNC leads to a separate request, which also handles set-id bits.
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_ATOMIC_O_TRUNC);
  // The kernel's own readahead of many readers must not run into its default of 12.
  conn->max_background = 64;
  // The kernel checks permissions (default_permissions); with this flag it also asks for ACLs.
  const FuseOperations& self = *static_cast<FuseOperations*>(userdata);
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_POSIX_ACL);
  if ((conn->capable & FUSE_CAP_POSIX_ACL) != 0 && self.mount_.options.acl) {
    conn->want |= FUSE_CAP_POSIX_ACL;
  }
  // A default ACL replaces the umask, so we apply the umask.
  conn->want |= conn->capable & FUSE_CAP_DONT_MASK;
  // The daemon may have the right to keep set-id bits when it writes for a caller without that
  // right, so the kernel must remove them.
  conn->want &= ~static_cast<unsigned>(FUSE_CAP_HANDLE_KILLPRIV);
  if (self.on_ready_) {
    self.on_ready_();
  }
}

void FuseOperations::Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    const auto found = self.mount_.lookups.Lookup(parent, name, Decoding::kForbidden);
    if (!found && found.error().code == EINPROGRESS) {
      self.RunSlowly(request, [&self, parent, key = std::string(name)]() -> LateReply {
        const auto late = self.mount_.lookups.Lookup(parent, key, Decoding::kAllowed);
        if (!late) {
          return {[code = ReplyCode(late.error().code)](fuse_req_t r) { fuse_reply_err(r, code); }};
        }
        return {[&self, found = *late](fuse_req_t r) { self.ReplyEntry(r, found); },
                [&self, node = late->node] { self.mount_.tree.Forget(node, 1); }};
      });
      return {};
    }
    XZFS_RETURN_IF_ERROR(found);
    self.ReplyEntry(request.End(), *found);
    return {};
  });
}

void FuseOperations::ReplyEntry(fuse_req_t req, const LookupResult& found) {
  const struct fuse_entry_param entry = EntryOf(found);
  if (fuse_reply_entry(req, &entry) == -ENOENT) {
    mount_.tree.Forget(found.node, 1);  // the caller was interrupted and never got it
  }
}

void FuseOperations::RunSlowly(Request& request, std::function<LateReply()> act) {
  ParkFor(
      request, [](fuse_req_t interrupted) { fuse_reply_err(interrupted, EINTR); },
      [&](WaitingRequests::Ticket ticket) {
        slow_looks_.Run([this, ticket, act = std::move(act)] {
          if (!waiting_.IsParked(ticket)) {
            return;
          }
          LateReply late;
          try {
            late = act();
          } catch (const std::bad_alloc&) {
            late = {[](fuse_req_t req) { fuse_reply_err(req, ENOMEM); }};
          }
          if (!waiting_.End(ticket, late.reply) && late.undo) {
            late.undo();
          }
        });
      });
}

void FuseOperations::Forget(fuse_req_t req, fuse_ino_t node, uint64_t count) {
  OperationsOf(req).mount_.tree.Forget(node, count);
  fuse_reply_none(req);
}

void FuseOperations::ForgetMulti(fuse_req_t req, size_t count, struct fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) {
    OperationsOf(req).mount_.tree.Forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(req);
}

void FuseOperations::GetAttr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info*) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const struct stat st, self.mount_.tree.GetAttributes(node));
    fuse_reply_attr(request.End(), &st, self.mount_.options.attr_timeout_s);
    return {};
  });
}

void FuseOperations::ReadLink(fuse_req_t req, fuse_ino_t node) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const std::string target, self.mount_.tree.ReadLink(node));
    fuse_reply_readlink(request.End(), target.c_str());
    return {};
  });
}

void FuseOperations::Open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info* fi) {
  RunRetried(req, [node, info = *fi](FuseOperations& self, Request& request) mutable -> Status {
    XZFS_ASSIGN_OR_RETURN(Handles::Opened file, self.mount_.handles.Open(node, info.flags));
    OpenFile* const opened = file.file.get();
    const bool may_write = opened->may_write();
    self.Hand(std::move(file), &info);
    const auto reply = [&self, opened, info](fuse_req_t ending) {
      if (fuse_reply_open(ending, &info) == -ENOENT) {
        // The caller was interrupted: no release will come.
        self.mount_.handles.Close(self.TakeBack(opened));
      }
    };
    if (!may_write) {
      reply(request.End());
      return {};
    }
    self.ReplyWhenStored(request, node, reply, [&self, opened](fuse_req_t interrupted) {
      self.mount_.handles.Close(self.TakeBack(opened));
      fuse_reply_err(interrupted, EINTR);
    });
    return {};
  });
}

void FuseOperations::Hand(Handles::Opened opened, struct fuse_file_info* fi) {
  fi->keep_cache = opened.keep_cache ? 1 : 0;
  // RELEASE comes after close has returned. A program that closes a file and then waits until
  // nothing is pending must not get its answer before we know of the close.
  fi->noflush = opened.file->may_write() ? 0 : 1;
  fi->fh = reinterpret_cast<uint64_t>(opened.file.get());
  Keep(std::move(opened.file));
}

void FuseOperations::Read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset,
                          struct fuse_file_info* fi) {
  FuseOperations& self = OperationsOf(req);
  if (offset < 0) {
    fuse_reply_err(req, EINVAL);
    return;
  }
  const Result<OpenFile*> file = self.FileOf(fi);
  if (!file) {
    fuse_reply_err(req, file.error().code);
    return;
  }
  const PendingRead next{req, *file, static_cast<uint64_t>(offset), size};
  if (!next.file->node()->has_giant_blocks()) {
    ReadNow(next);
    return;
  }
  self.slow_reads_.Run([next] { ReadNow(next); });
}

void FuseOperations::ReadNow(const PendingRead& read) {
  Run(read.req, [&](FuseOperations& self, Request& request) -> Status {
    thread_local std::vector<std::byte> buffer;
    std::vector<XzReader::Piece> lent;
    XZFS_ASSIGN_OR_RETURN(const size_t got,
                          self.mount_.reads.Read(*read.file, read.offset, read.size, buffer, lent));
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
  FuseOperations& self = OperationsOf(req);
  if (std::unique_ptr<OpenFile> file = self.TakeBack(reinterpret_cast<OpenFile*>(fi->fh))) {
    self.mount_.handles.Close(std::move(file));
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
  // Without this operation the kernel would never drop cached listings.
  FuseOperations& self = OperationsOf(req);
  fi->fh = 0;
  if (std::shared_ptr<Listing> listing = self.mount_.directories.OpenListing(node)) {
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
  OperationsOf(req).DropListing(fi->fh);
  fuse_reply_err(req, 0);
}

void FuseOperations::DropListing(uint64_t handle) {
  std::shared_ptr<Listing> dropped;  // freed after the lock is released
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
  List(req, node, size, offset, fi, ListingKind::kNames);
}

void FuseOperations::ReadDirPlus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                                 struct fuse_file_info* fi) {
  List(req, node, size, offset, fi, ListingKind::kWithLookups);
}

void FuseOperations::List(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                          const struct fuse_file_info* fi, ListingKind kind) {
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
      const size_t need = kind == ListingKind::kWithLookups
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
    Status listed = self.mount_.directories.ReadDirectory(
        node, listing.get(), static_cast<uint64_t>(offset), kind, size, add);
    if (!listed) {
      for (const NodeId id : counted) {
        self.mount_.tree.Forget(id, 1);
      }
      return listed;
    }
    if (fuse_reply_buf(request.End(), reply.data(), used) == -ENOENT) {
      for (const NodeId id : counted) {
        self.mount_.tree.Forget(id, 1);
      }
    }
    return {};
  });
}

void FuseOperations::StatFs(fuse_req_t req, fuse_ino_t node) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const struct statvfs st, self.mount_.attributes.StatVfs(node));
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
    if (self.mount_.control.MayDecodeFor(node, key)) {
      self.RunSlowly(request, [&self, node, key, size]() -> LateReply {
        return {[value = self.GetXattrNow(node, key), size](fuse_req_t r) {
          if (value) {
            ReplyXattr(r, *value, size, kControlSlack);
          } else {
            fuse_reply_err(r, ReplyCode(value.error().code));
          }
        }};
      });
      return {};
    }
    XZFS_ASSIGN_OR_RETURN(const std::string value, self.GetXattrNow(node, key));
    ReplyXattr(request.End(), value, size, IsControlKey(key) ? kControlSlack : 0);
    return {};
  });
}

Result<std::string> FuseOperations::GetXattrNow(NodeId node, const std::string& key) {
  return IsControlKey(key) ? mount_.control.Get(node, key) : mount_.attributes.GetXattr(node, key);
}

// The command may wait for commits.
void FuseOperations::RunCommand(Request& request, NodeId node, const std::string& key,
                                size_t size) {
  const Caller caller = CallerOf(request.get());
  ParkFor(
      request, [](fuse_req_t interrupted) { fuse_reply_err(interrupted, EINTR); },
      [&](WaitingRequests::Ticket ticket) {
        mount_.control.RunCommand(node, key, caller,
                                  [this, ticket, size](const Result<std::string>& value) {
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
                          self.mount_.attributes.ListXattr(node, CallerOf(req).uid == 0));
    ReplyXattr(request.End(), names, size, 0);
    return {};
  });
}

void FuseOperations::LSeek(fuse_req_t req, fuse_ino_t, off_t offset, int whence,
                           struct fuse_file_info* fi) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    XZFS_ASSIGN_OR_RETURN(const uint64_t at,
                          self.mount_.writes.Seek(*file, static_cast<uint64_t>(offset), whence));
    fuse_reply_lseek(request.End(), static_cast<off_t>(at));
    return {};
  });
}

template <auto kOperation, class... Arguments>
void FuseOperations::Use(fuse_req_t req, Arguments... arguments) {
  OperationsOf(req).last_request_.Note();
  kOperation(req, arguments...);
}

// The kernel sends FORGET when it needs memory, not because the mount is in use.
struct fuse_lowlevel_ops FuseOperations::Table() {
  struct fuse_lowlevel_ops ops = {};
  ops.init = Init;
  ops.lookup = Use<Lookup>;
  ops.forget = Forget;
  ops.forget_multi = ForgetMulti;
  ops.getattr = Use<GetAttr>;
  ops.readlink = Use<ReadLink>;
  ops.open = Use<Open>;
  ops.read = Use<Read>;
  ops.release = Use<Release>;
  ops.opendir = Use<OpenDir>;
  ops.releasedir = Use<ReleaseDir>;
  ops.readdir = Use<ReadDir>;
  ops.readdirplus = Use<ReadDirPlus>;
  ops.statfs = Use<StatFs>;
  ops.getxattr = Use<GetXattr>;
  ops.listxattr = Use<ListXattr>;
  ops.setxattr = Use<SetXattr>;
  ops.removexattr = Use<RemoveXattr>;
  ops.setattr = Use<SetAttr>;
  ops.mknod = Use<MkNod>;
  ops.mkdir = Use<MkDir>;
  ops.symlink = Use<SymLink>;
  ops.link = Use<Link>;
  ops.unlink = Use<Unlink>;
  ops.rmdir = Use<RmDir>;
  ops.rename = Use<Rename>;
  ops.create = Use<Create>;
  ops.write = Use<Write>;
  ops.flush = Use<Flush>;
  ops.fsync = Use<FSync>;
  ops.fsyncdir = Use<FSyncDir>;
  ops.fallocate = Use<FAllocate>;
  ops.lseek = Use<LSeek>;
  return ops;
}

}  // namespace xzfs
