// Running an operation; for the sources of FuseOperations.
#pragma once

#include <cerrno>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "base/caller.h"
#include "base/log.h"
#include "base/try.h"
#include "frontend/fuse_operations.h"

namespace xzfs {

inline Caller CallerOf(fuse_req_t req) {
  const struct fuse_ctx* const context = fuse_req_ctx(req);
  return {context->uid, context->gid, context->umask};
}

inline FuseOperations& OperationsOf(fuse_req_t req) {
  return *static_cast<FuseOperations*>(fuse_req_userdata(req));
}

template <class Act>
bool FuseOperations::TryOnce(fuse_req_t req, Act& act, AttemptKind kind) {
  FuseOperations& self = OperationsOf(req);
  Request request(req);
  try {
    const Status status = act(self, request);
    if (!status) {
      if (status.error().code == EWOULDBLOCK && kind != AttemptKind::kLast) {
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
  TryOnce(req, act, AttemptKind::kLast);
}

template <class Act>
void FuseOperations::RunRetried(fuse_req_t req, Act act) {
  if (!TryOnce(req, act, AttemptKind::kMayWait)) {
    OperationsOf(req).waiting_.Retry(
        req, [act = std::move(act)](fuse_req_t again, AttemptKind kind) mutable {
          return TryOnce(again, act, kind);
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
    self.ReplyEntry(request.End(), found);
    return {};
  });
}

}  // namespace xzfs
