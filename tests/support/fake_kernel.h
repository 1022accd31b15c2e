// The kernel's side of a FUSE session, played by a test. Tests get <linux/fuse.h> from here only.
#pragma once

#include <fcntl.h>
#include <linux/fuse.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "xzfs/result.h"

namespace xzfs {

// Sends requests over one end of a socket pair and matches replies by their unique number. Every
// request must get exactly one reply. A reply that doesn't come within kDeadline, that answers no
// request, or that has a wrong header is a test failure (and an Error to the caller), never a hang.
//
// Thread-safe: any thread may send requests, and replies come in any order. One thread constructs
// and destroys it.
//
// The code of a call's Error is the errno of the reply, ETIMEDOUT if no reply came, or EPROTO for a
// reply that does not belong to this request.
class FakeKernel {
 public:
  enum class Transport {
    // SOCK_SEQPACKET: one message, one request or reply, like /dev/fuse. A reply is limited by the
    // socket's send buffer, which only root may raise: 256 KiB are safe everywhere.
    kMessages,
    // SOCK_STREAM: replies of any size. REQUIRES: one request at a time, and only ones that are
    // answered; two would run into each other.
    kStream,
  };
  enum class Expect {
    kReply,
    kNoReply,
    // FORGET is never answered, INTERRUPT sometimes.
    kMaybe,
  };
  struct Reply {
    int error = 0;  // an errno value
    std::string body;
  };
  // Data that the file system put into the page cache without a request.
  struct StoredPages {
    uint64_t node = 0;
    uint64_t offset = 0;
    std::string bytes;
  };
  // One line of READDIR or READDIRPLUS.
  struct DirLine {
    std::string name;
    uint64_t inode = 0;
    uint64_t next_offset = 0;
    uint32_t type = 0;                    // DT_*
    std::optional<fuse_entry_out> entry;  // of READDIRPLUS
  };

  // The capabilities that Linux 6.1 offers.
  static const uint32_t kUsualFlags;

  explicit FakeKernel(Transport transport = Transport::kMessages);
  ~FakeKernel();
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  // The other end, for FuseFrontend::AttachSocket. The caller owns it.
  int TakeServerEnd() { return std::exchange(server_, -1); }

  Result<fuse_init_out> Init(uint32_t flags = kUsualFlags);
  Result<fuse_entry_out> Lookup(uint64_t parent, std::string_view name);
  void Forget(uint64_t node, uint64_t count);
  void BatchForget(const std::vector<fuse_forget_one>& forgets);
  Result<fuse_attr_out> GetAttr(uint64_t node);
  Result<std::string> ReadLink(uint64_t node);
  Result<fuse_open_out> Open(uint64_t node, uint32_t flags = O_RDONLY);
  Result<std::string> Read(uint64_t node, uint64_t handle, uint64_t offset, uint32_t size);
  Status Release(uint64_t node, uint64_t handle);
  // Releases every handle that is still open, as the kernel does before a file system goes.
  void ReleaseAll();
  Result<fuse_open_out> OpenDir(uint64_t node);
  Status ReleaseDir(uint64_t node, uint64_t handle);
  Result<std::vector<DirLine>> ReadDir(uint64_t node, uint64_t offset, uint32_t size);
  Result<std::vector<DirLine>> ReadDirPlus(uint64_t node, uint64_t offset, uint32_t size);
  Result<fuse_kstatfs> StatFs(uint64_t node = FUSE_ROOT_ID);
  // The two calls of the size protocol: with size 0, and with a buffer of `size`.
  Result<uint32_t> GetXattrSize(uint64_t node, std::string_view name);
  Result<std::string> GetXattr(uint64_t node, std::string_view name, uint32_t size);
  Result<uint32_t> ListXattrSize(uint64_t node);
  Result<std::string> ListXattr(uint64_t node, uint32_t size);
  // For the request `unique`.
  void Interrupt(uint64_t unique);

  // Requests in parts. Send returns the request's unique number.
  uint64_t Send(uint32_t opcode, uint64_t node, std::string_view body,
                Expect expect = Expect::kReply);
  uint64_t SendRead(uint64_t node, uint64_t handle, uint64_t offset, uint32_t size);
  // REQUIRES: a request that Send returned with Expect::kReply, not awaited yet.
  Reply Await(uint64_t unique);
  Reply Ask(uint32_t opcode, uint64_t node, std::string_view body) {
    return Await(Send(opcode, node, body));
  }

  // Sends any bytes. If a reply is expected, they are a request with the number `unique`. libfuse
  // ends the session on a message shorter than a header.
  void SendBytes(std::string_view bytes, uint64_t unique, Expect expect);
  uint64_t NewUnique() { return next_unique_ += 2; }
  // A whole request with a right header.
  static std::string Frame(uint32_t opcode, uint64_t node, uint64_t unique, std::string_view body);

  // Counted since the start.
  std::vector<StoredPages> stored_pages() const;

  // Requests that still wait for their reply.
  size_t unanswered_count() const;

  // The session reads end of file, as if the file system had been unmounted; replies still come.
  void HangUp();
  // Closes the test's end. A reply that is written after that gives SIGPIPE, if not ignored.
  void Close();

 private:
  struct Owed {
    Expect expect = Expect::kReply;
    std::optional<Reply> reply;
  };

  void ReceiveLoop();
  // False at the end of the session.
  bool ReceiveSome();
  void Deliver(std::string_view message);
  void DeliverNotification(int code, std::string_view body);
  template <class T>
  Result<T> AskFor(uint32_t opcode, uint64_t node, std::string_view body);
  Result<std::string> AskForBytes(uint32_t opcode, uint64_t node, std::string_view body,
                                  size_t most);
  Result<std::vector<DirLine>> AskForLines(uint32_t opcode, uint64_t node, uint64_t offset,
                                           uint32_t size);

  const Transport transport_;
  int socket_ = -1;
  int server_ = -1;
  int wake_ = -1;  // an eventfd that ends the receiver
  std::atomic<uint64_t> next_unique_{0};

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<uint64_t, Owed> owed_;
  std::set<std::pair<uint64_t, uint64_t>> open_;  // node and handle
  std::vector<StoredPages> stored_pages_;
  bool ended_ = false;

  // Only the receiver uses these.
  std::vector<char> buffer_;
  std::string received_;  // kStream: what is not a whole reply yet
  std::thread receiver_;
};

}  // namespace xzfs
