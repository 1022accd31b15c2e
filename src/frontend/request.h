// A request of the kernel.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <cerrno>
#include <string>
#include <utility>

#include "base/log.h"
#include "xzfs/result.h"

namespace xzfs {

// The kernel refuses a reply with any other code, and the program would never get an answer. File
// systems below the source have been seen to return such ones (ENOTSUPP, 524).
inline int ReplyCode(int code) {
  constexpr int kMostCode = 511;
  return code >= 0 && code <= kMostCode ? code : EIO;
}

// A request that must be answered once.
class Request {
 public:
  explicit Request(fuse_req_t req) : req_(req) {}

  // For a fuse_reply_* call, which ends the request.
  fuse_req_t End() { return std::exchange(req_, nullptr); }
  // For calls that only need to know which request it is.
  fuse_req_t get() const { return req_; }
  void Error(int code) {
    if (req_ != nullptr) {
      fuse_reply_err(End(), ReplyCode(code));
    }
  }

 private:
  fuse_req_t req_;
};

// Users only see an errno; a lack of resources is also logged.
inline void LogFailure(const Error& error) {
  const bool resources = error.code == ENOMEM || error.code == EMFILE || error.code == ENFILE;
  const LogLevel level = resources ? LogLevel::kWarning : LogLevel::kDebug;
  if (LogEnabled(level)) {
    Log(level, "request failed: " + error.message + " (errno " + std::to_string(error.code) + ")");
  }
}

}  // namespace xzfs
