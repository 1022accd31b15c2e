// Requests that change something, or wait for a change: this is the other half of FuseOperations.
// Most are one call of a part of the mount; fuse_run.h replies and turns exceptions into errors.
//
// Three kinds of requests may have to wait. They are parked meanwhile, and hold no thread:
//   - SetAttr and Create are tried again while another mount is at the last steps of a commit of
//     the file (RunRetried). libfuse's arguments are gone by then, so these functions copy what
//     they need.
//   - SetAttr with a new size, and Create, are not answered while the filler is storing bytes of
//     the file in the kernel's page cache, which may be old ones (ReplyWhenStored).
//   - Flush with sync_close waits for the commit.
//
// If a parked Create is interrupted the kernel never learns of the file: the open file and the
// lookup count are given back.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "base/caller.h"
#include "base/try.h"
#include "frontend/fuse_run.h"

namespace xzfs {

WaitingRequests& FuseOperations::WaitingOf(fuse_req_t req) { return OperationsOf(req).waiting_; }

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

void FuseOperations::SetXattr(fuse_req_t req, fuse_ino_t node, const char* name, const char* value,
                              size_t size, int flags) {
  RunStatus(req, [&](FuseOperations& self) {
    return self.mount_.attributes.SetXattr(node, name, {value, size}, flags, CallerOf(req));
  });
}

void FuseOperations::RemoveXattr(fuse_req_t req, fuse_ino_t node, const char* name) {
  RunStatus(req,
            [&](FuseOperations& self) { return self.mount_.attributes.RemoveXattr(node, name); });
}

void FuseOperations::SetAttr(fuse_req_t req, fuse_ino_t node, struct stat* attr, int to_set,
                             struct fuse_file_info* fi) {
  const std::optional<struct fuse_file_info> info =
      fi == nullptr ? std::nullopt : std::optional(*fi);
  RunRetried(req, [=, asked = *attr](FuseOperations& self, Request& request) -> Status {
    const struct timespec now = {.tv_sec = 0, .tv_nsec = UTIME_NOW};
    AttributeChange change;
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
    XZFS_ASSIGN_OR_RETURN(const struct stat st,
                          self.mount_.writes.SetAttributes(node, change, file));
    const auto reply = [st, timeout = self.mount_.options.attr_timeout_s](fuse_req_t ending) {
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
    return self.mount_.new_names.Make(parent, name, {.mode = mode, .device = device}, caller);
  });
}

void FuseOperations::MkDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  RunEntry(req, [&](FuseOperations& self, const Caller& caller) {
    return self.mount_.new_names.Make(parent, name, {.mode = S_IFDIR | mode}, caller);
  });
}

void FuseOperations::SymLink(fuse_req_t req, const char* target, fuse_ino_t parent,
                             const char* name) {
  RunEntry(req, [&](FuseOperations& self, const Caller& caller) {
    return self.mount_.new_names.Make(parent, name, {.mode = S_IFLNK, .target = target}, caller);
  });
}

void FuseOperations::Link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  RunEntry(req, [&](FuseOperations& self, const Caller&) {
    return self.mount_.new_names.Link(node, parent, name);
  });
}

void FuseOperations::Unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  RunStatus(req, [&](FuseOperations& self) { return self.mount_.removals.Unlink(parent, name); });
}

void FuseOperations::RmDir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  RunStatus(req, [&](FuseOperations& self) {
    return self.mount_.removals.RemoveDirectory(parent, name);
  });
}

void FuseOperations::Rename(fuse_req_t req, fuse_ino_t parent, const char* name,
                            fuse_ino_t new_parent, const char* new_name, unsigned flags) {
  RunStatus(req, [&](FuseOperations& self) {
    return self.mount_.renames.Rename(parent, name, new_parent, new_name, flags);
  });
}

void FuseOperations::Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                            struct fuse_file_info* fi) {
  RunRetried(req,
             [parent, file_name = std::string(name), mode, info = *fi](
                 FuseOperations& self, Request& request) mutable -> Status {
               std::unique_ptr<OpenFile> file;
               XZFS_ASSIGN_OR_RETURN(
                   const LookupResult found,
                   self.mount_.new_names.Create(parent, file_name, mode, info.flags,
                                                CallerOf(request.get()), &file));
               OpenFile* const opened = file.get();
               self.Hand({.file = std::move(file)}, &info);
               const auto give_up = [&self, opened, node = found.node] {
                 self.mount_.handles.Close(self.TakeBack(opened));
                 self.mount_.tree.Forget(node, 1);
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
    // Bytes that the kernel writes back from a mapping have a fixed offset.
    if ((fi->flags & O_APPEND) == 0 || fi->writepage != 0) {
      XZFS_ASSIGN_OR_RETURN(const size_t written, self.mount_.writes.Write(*file, at, content));
      fuse_reply_write(request.End(), written);
      return {};
    }
    const NodeId node = file->id();
    XZFS_ASSIGN_OR_RETURN(const Appended done, self.mount_.writes.Append(*file, at, content));
    fuse_reply_write(request.End(), done.bytes);
    if (done.stale_from) {
      self.mount_.kernel.DropStale(
          node,
          *done.stale_from);  // after the reply, since the kernel has the pages only then
    }
    return {};
  });
}

// With sync_close the request waits for the commit. A signal doesn't end the wait: programs treat a
// failed close as lost data.
void FuseOperations::Flush(fuse_req_t req, fuse_ino_t, struct fuse_file_info* fi) {
  Run(req, [&](FuseOperations& self, Request& request) -> Status {
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    XZFS_ASSIGN_OR_RETURN(const bool must_wait, self.mount_.writes.Flush(*file));
    if (!must_wait) {
      request.Error(0);
      return {};
    }
    self.ParkFor(request, nullptr, [&](WaitingRequests::Ticket ticket) {
      self.mount_.requests.CommitNow(file->id(), [&self, ticket](const Status& committed) {
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
    return self.mount_.syncs.Sync(file->id(),
                                  only_data != 0 ? SyncScope::kOnlyData : SyncScope::kAll);
  });
}

void FuseOperations::FSyncDir(fuse_req_t req, fuse_ino_t node, int, struct fuse_file_info*) {
  RunStatus(req, [&](FuseOperations& self) { return self.mount_.syncs.SyncDirectory(node); });
}

void FuseOperations::FAllocate(fuse_req_t req, fuse_ino_t, int mode, off_t offset, off_t length,
                               struct fuse_file_info* fi) {
  RunStatus(req, [&](FuseOperations& self) -> Status {
    XZFS_ASSIGN_OR_RETURN(const OpenFile* const file, self.FileOf(fi));
    return self.mount_.writes.Allocate(*file, mode, static_cast<uint64_t>(offset),
                                       static_cast<uint64_t>(length));
  });
}

}  // namespace xzfs
