// The FUSE side: takes requests from the kernel, asks the Mount, replies.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fs/options.h"
#include "xzfs/result.h"

namespace xzfs {

struct Mount;

// How the message of MountAt begins if fusermount3 was asked and has told the user why it refused.
inline constexpr std::string_view kFusermountRefused = "fusermount3 refused";

// One FUSE session. Create, MountAt (or AttachSocket), Serve, Unmount, destroy, in that order and
// from one thread, except for Stop and last_request.
class FuseFrontend {
 public:
  struct Config {
    // The device in the mount table: the absolute path of the source.
    std::string fsname;
    // Log every request.
    bool debug = false;
    // Answer requests one after the other (-s).
    bool single_threaded = false;
    // Put bytes that were decoded besides those of a read into the kernel's page cache, and have
    // pages dropped on request.
    bool fill_page_cache = true;
    // Called once, when the kernel's INIT request has arrived: the mount answers from then on. Runs
    // on a request thread; must not block on the mount.
    std::function<void()> on_ready;
    // For tests: called before decoded bytes of a node are put into the kernel's page cache, on the
    // thread that does it.
    std::function<void(uint64_t node)> before_store = nullptr;
  };

  // `mount` outlives the frontend. Errors: a message with the reason.
  static Result<std::unique_ptr<FuseFrontend>> Create(Mount& mount, const Options& options,
                                                      Config config);
  ~FuseFrontend();
  FuseFrontend(const FuseFrontend&) = delete;
  FuseFrontend& operator=(const FuseFrontend&) = delete;

  // Mounts on `mountpoint`. Errors: what libfuse or fusermount3 said; the code is the errno where
  // it is known, else EIO.
  Status MountAt(const std::string& mountpoint);

  // For tests: serves requests from this SOCK_SEQPACKET socket, whose other end plays the kernel.
  // Takes the descriptor.
  Status AttachSocket(int fd);

  // Answers requests until the file system is unmounted or Stop is called. Blocks. The threads it
  // starts inherit the caller's signal mask and sandbox. Errors: the session broke.
  Status Serve();

  // When the kernel last asked for something (when this object was made, if it has not yet).
  // Everything counts, except that it forgets a node or interrupts a request. May be called from
  // any thread.
  std::chrono::steady_clock::time_point last_request() const;

  // Makes Serve return soon. May be called from any thread, even after Serve has returned.
  void Stop();

  // Unmounts if that was not done yet. Needs the rights that MountAt needed.
  void Unmount();

 private:
  class Impl;
  explicit FuseFrontend(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace xzfs
