// One thread receives all the time, so the session never waits until a reply is taken. The thread
// that sent the request waits for the reply on a condition.
#include "support/fake_kernel.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

#include "base/fail.h"

namespace xzfs {
namespace {

// A reply takes microseconds; this allows for a busy machine and a sanitizer.
constexpr std::chrono::seconds kDeadline{60};

// More than libfuse's largest message: 1 MiB of data and its headers.
constexpr size_t kLargestMessage = (size_t{1} << 20) + 8192;

// How many bytes the messages of one end may fill; the system may grant less.
constexpr int kSocketBufferBytes = 4 << 20;

template <class T>
std::string BytesOf(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T LoadFrom(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::string WithNul(std::string_view name) { return std::string(name) + '\0'; }

std::string ReadBody(uint64_t handle, uint64_t offset, uint32_t size) {
  fuse_read_in in = {};
  in.fh = handle;
  in.offset = offset;
  in.size = size;
  return BytesOf(in);
}

std::string XattrBody(std::string_view name, uint32_t size) {
  fuse_getxattr_in in = {};
  in.size = size;
  return BytesOf(in) + WithNul(name);
}

[[noreturn]] void Die(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

const uint32_t FakeKernel::kUsualFlags =
    FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT |
    FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ |
    FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
    FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT |
    FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV | FUSE_POSIX_ACL | FUSE_ABORT_ERROR |
    FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT | FUSE_EXPLICIT_INVAL_DATA |
    FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT;

FakeKernel::FakeKernel(Transport transport) : transport_(transport), buffer_(kLargestMessage) {
  const int type = transport == Transport::kMessages ? SOCK_SEQPACKET : SOCK_STREAM;
  int ends[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) {
    Die("socketpair");
  }
  socket_ = ends[0];
  server_ = ends[1];
  wake_ = eventfd(0, EFD_CLOEXEC);
  if (wake_ < 0) {
    Die("eventfd");
  }
  const timeval deadline{kDeadline.count(), 0};
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
  setsockopt(server_, SOL_SOCKET, SO_SNDBUF, &kSocketBufferBytes, sizeof kSocketBufferBytes);
  receiver_ = std::thread([this] { ReceiveLoop(); });
}

FakeKernel::~FakeKernel() {
  Close();
  close(wake_);
  if (server_ >= 0) {
    close(server_);
  }
}

void FakeKernel::HangUp() { shutdown(socket_, SHUT_WR); }

void FakeKernel::Close() {
  if (!receiver_.joinable()) {
    return;
  }
  const uint64_t one = 1;
  EXPECT_EQ(write(wake_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  receiver_.join();
  close(socket_);
}

void FakeKernel::ReceiveLoop() {
  for (;;) {
    pollfd waits[] = {{socket_, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) {
      break;
    }
    if (waits[1].revents != 0 || (waits[0].revents != 0 && !ReceiveSome())) {
      break;
    }
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  ended_ = true;
  arrived_.notify_all();
}

bool FakeKernel::ReceiveSome() {
  const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got <= 0) {
    return got < 0 && (errno == EAGAIN || errno == EINTR);
  }
  const std::string_view bytes(buffer_.data(), static_cast<size_t>(got));
  if (transport_ == Transport::kMessages) {
    Deliver(bytes);
    return true;
  }
  received_ += bytes;
  while (received_.size() >= sizeof(fuse_out_header)) {
    const size_t length = LoadFrom<fuse_out_header>(received_).len;
    if (length < sizeof(fuse_out_header) || length > received_.size()) {
      break;
    }
    Deliver(std::string_view(received_).substr(0, length));
    received_.erase(0, length);
  }
  return true;
}

void FakeKernel::Deliver(std::string_view message) {
  if (message.size() < sizeof(fuse_out_header)) {
    ADD_FAILURE() << "a reply of " << message.size() << " bytes";
    return;
  }
  const auto header = LoadFrom<fuse_out_header>(message);
  EXPECT_EQ(header.len, message.size()) << "the length that the reply's header claims";
  if (header.unique == 0) {
    DeliverNotification(header.error, message.substr(sizeof header));
    return;
  }
  // The kernel accepts only this: it refuses any other reply, and the caller waits forever.
  EXPECT_TRUE(header.error <= 0 && header.error > -512) << "error " << header.error;
  EXPECT_TRUE(header.error == 0 || message.size() == sizeof header) << "an error with data";
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto owed = owed_.find(header.unique);
  if (owed == owed_.end() || owed->second.reply) {
    ADD_FAILURE() << "a reply that nobody waits for, to request " << header.unique;
    return;
  }
  if (owed->second.expect == Expect::kMaybe) {
    owed_.erase(owed);
    return;
  }
  owed->second.reply = Reply{-header.error, std::string(message.substr(sizeof header))};
  arrived_.notify_all();
}

void FakeKernel::DeliverNotification(int code, std::string_view body) {
  if (code != FUSE_NOTIFY_STORE || body.size() < sizeof(fuse_notify_store_out)) {
    ADD_FAILURE() << "notification " << code << " of " << body.size() << " bytes";
    return;
  }
  const auto store = LoadFrom<fuse_notify_store_out>(body);
  const std::string_view bytes = body.substr(sizeof store);
  EXPECT_EQ(store.size, bytes.size());
  const std::lock_guard<std::mutex> lock(mutex_);
  stored_pages_.push_back({store.nodeid, store.offset, std::string(bytes)});
}

std::vector<FakeKernel::StoredPages> FakeKernel::stored_pages() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return stored_pages_;
}

size_t FakeKernel::unanswered_count() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<size_t>(std::count_if(owed_.begin(), owed_.end(), [](const auto& owed) {
    return owed.second.expect == Expect::kReply && !owed.second.reply;
  }));
}

std::string FakeKernel::Frame(uint32_t opcode, uint64_t node, uint64_t unique,
                              std::string_view body) {
  fuse_in_header header = {};
  header.len = static_cast<uint32_t>(sizeof header + body.size());
  header.opcode = opcode;
  header.unique = unique;
  header.nodeid = node;
  header.uid = getuid();
  header.gid = getgid();
  header.pid = static_cast<uint32_t>(getpid());
  return BytesOf(header) + std::string(body);
}

void FakeKernel::SendBytes(std::string_view bytes, uint64_t unique, Expect expect) {
  if (expect != Expect::kNoReply) {
    const std::lock_guard<std::mutex> lock(mutex_);
    owed_[unique].expect = expect;
  }
  const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  EXPECT_EQ(sent, static_cast<ssize_t>(bytes.size()))
      << "the session takes no requests: " << std::strerror(errno);
}

uint64_t FakeKernel::Send(uint32_t opcode, uint64_t node, std::string_view body, Expect expect) {
  const uint64_t unique = NewUnique();
  SendBytes(Frame(opcode, node, unique, body), unique, expect);
  return unique;
}

FakeKernel::Reply FakeKernel::Await(uint64_t unique) {
  // Uses the system clock: the thread sanitizer of clang 14 doesn't know the call that waits with
  // the steady clock.
  const auto deadline = std::chrono::system_clock::now() + kDeadline;
  std::unique_lock<std::mutex> lock(mutex_);
  const auto owed = owed_.find(unique);
  if (owed == owed_.end()) {
    ADD_FAILURE() << "request " << unique << " is owed no reply";
    return {EPROTO, {}};
  }
  const bool came =
      arrived_.wait_until(lock, deadline, [&] { return owed->second.reply.has_value() || ended_; });
  Reply reply{ETIMEDOUT, {}};
  if (owed->second.reply) {
    reply = std::move(*owed->second.reply);
  } else {
    ADD_FAILURE() << "no reply to request " << unique
                  << (came ? ": the session has ended" : " in time");
  }
  owed_.erase(owed);
  return reply;
}

template <class T>
Result<T> FakeKernel::AskFor(uint32_t opcode, uint64_t node, std::string_view body) {
  const Reply reply = Ask(opcode, node, body);
  if (reply.error != 0) {
    return FailErrno(reply.error, "request " + std::to_string(opcode));
  }
  if (reply.body.size() != sizeof(T)) {
    ADD_FAILURE() << "the reply to request " << opcode << " has " << reply.body.size()
                  << " bytes, not " << sizeof(T);
    return Fail(EPROTO, "a reply of another size");
  }
  return LoadFrom<T>(reply.body);
}

Result<std::string> FakeKernel::AskForBytes(uint32_t opcode, uint64_t node, std::string_view body,
                                            size_t most) {
  Reply reply = Ask(opcode, node, body);
  if (reply.error != 0) {
    return FailErrno(reply.error, "request " + std::to_string(opcode));
  }
  EXPECT_LE(reply.body.size(), most) << "more than was asked for, request " << opcode;
  return std::move(reply.body);
}

Result<fuse_init_out> FakeKernel::Init(uint32_t flags) {
  fuse_init_in in = {};
  in.major = FUSE_KERNEL_VERSION;
  in.minor = FUSE_KERNEL_MINOR_VERSION;
  in.max_readahead = 128 << 10;
  in.flags = flags;
  return AskFor<fuse_init_out>(FUSE_INIT, 0, BytesOf(in));
}

Result<fuse_entry_out> FakeKernel::Lookup(uint64_t parent, std::string_view name) {
  return AskFor<fuse_entry_out>(FUSE_LOOKUP, parent, WithNul(name));
}

void FakeKernel::Forget(uint64_t node, uint64_t count) {
  fuse_forget_in in = {};
  in.nlookup = count;
  Send(FUSE_FORGET, node, BytesOf(in), Expect::kNoReply);
}

void FakeKernel::BatchForget(const std::vector<fuse_forget_one>& forgets) {
  fuse_batch_forget_in in = {};
  in.count = static_cast<uint32_t>(forgets.size());
  std::string body = BytesOf(in);
  for (const fuse_forget_one& forget : forgets) {
    body += BytesOf(forget);
  }
  Send(FUSE_BATCH_FORGET, 0, body, Expect::kNoReply);
}

Result<fuse_attr_out> FakeKernel::GetAttr(uint64_t node) {
  return AskFor<fuse_attr_out>(FUSE_GETATTR, node, BytesOf(fuse_getattr_in{}));
}

Result<std::string> FakeKernel::ReadLink(uint64_t node) {
  return AskForBytes(FUSE_READLINK, node, {}, 4095);
}

Result<fuse_open_out> FakeKernel::Open(uint64_t node, uint32_t flags) {
  fuse_open_in in = {};
  in.flags = flags;
  auto opened = AskFor<fuse_open_out>(FUSE_OPEN, node, BytesOf(in));
  if (opened) {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_TRUE(open_.emplace(node, opened->fh).second) << "a handle that is in use";
  }
  return opened;
}

Result<std::string> FakeKernel::Read(uint64_t node, uint64_t handle, uint64_t offset,
                                     uint32_t size) {
  return AskForBytes(FUSE_READ, node, ReadBody(handle, offset, size), size);
}

uint64_t FakeKernel::SendRead(uint64_t node, uint64_t handle, uint64_t offset, uint32_t size) {
  return Send(FUSE_READ, node, ReadBody(handle, offset, size));
}

Status FakeKernel::Release(uint64_t node, uint64_t handle) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    EXPECT_EQ(open_.erase({node, handle}), 1U) << "a handle that is not open";
  }
  fuse_release_in in = {};
  in.fh = handle;
  const auto reply = AskForBytes(FUSE_RELEASE, node, BytesOf(in), 0);
  return reply ? Status() : Failure(reply.error());
}

void FakeKernel::ReleaseAll() {
  std::set<std::pair<uint64_t, uint64_t>> open;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    open = open_;
  }
  for (const auto& [node, handle] : open) {
    EXPECT_TRUE(Release(node, handle));
  }
}

Result<fuse_open_out> FakeKernel::OpenDir(uint64_t node) {
  return AskFor<fuse_open_out>(FUSE_OPENDIR, node, BytesOf(fuse_open_in{}));
}

Status FakeKernel::ReleaseDir(uint64_t node, uint64_t handle) {
  fuse_release_in in = {};
  in.fh = handle;
  const auto reply = AskForBytes(FUSE_RELEASEDIR, node, BytesOf(in), 0);
  return reply ? Status() : Failure(reply.error());
}

Result<std::vector<FakeKernel::DirLine>> FakeKernel::AskForLines(uint32_t opcode, uint64_t node,
                                                                 uint64_t offset, uint32_t size) {
  auto bytes = AskForBytes(opcode, node, ReadBody(0, offset, size), size);
  if (!bytes) {
    return Failure(bytes.error());
  }
  const bool plus = opcode == FUSE_READDIRPLUS;
  std::vector<DirLine> lines;
  std::string_view rest = *bytes;
  while (!rest.empty()) {
    const size_t entry_size = plus ? sizeof(fuse_entry_out) : 0;
    const size_t head_size = entry_size + FUSE_NAME_OFFSET;
    if (rest.size() < head_size) {
      ADD_FAILURE() << "a directory line that is cut off";
      return Fail(EPROTO, "a directory line that is cut off");
    }
    DirLine line;
    if (plus) {
      line.entry = LoadFrom<fuse_entry_out>(rest);
    }
    // Doesn't use LoadFrom, because the structure ends in the name.
    fuse_dirent head = {};
    std::memcpy(static_cast<void*>(&head), rest.data() + entry_size, FUSE_NAME_OFFSET);
    const size_t length = FUSE_DIRENT_ALIGN(head_size + head.namelen);
    if (head.namelen == 0 || length > rest.size()) {
      ADD_FAILURE() << "a directory line with a name of " << head.namelen << " bytes";
      return Fail(EPROTO, "a directory line whose name is cut off");
    }
    line.name = std::string(rest.substr(head_size, head.namelen));
    line.inode = head.ino;
    line.next_offset = head.off;
    line.type = head.type;
    lines.push_back(std::move(line));
    rest.remove_prefix(length);
  }
  return lines;
}

Result<std::vector<FakeKernel::DirLine>> FakeKernel::ReadDir(uint64_t node, uint64_t offset,
                                                             uint32_t size) {
  return AskForLines(FUSE_READDIR, node, offset, size);
}

Result<std::vector<FakeKernel::DirLine>> FakeKernel::ReadDirPlus(uint64_t node, uint64_t offset,
                                                                 uint32_t size) {
  return AskForLines(FUSE_READDIRPLUS, node, offset, size);
}

Result<fuse_kstatfs> FakeKernel::StatFs(uint64_t node) {
  return AskFor<fuse_statfs_out>(FUSE_STATFS, node, {}).transform([](const fuse_statfs_out& out) {
    return out.st;
  });
}

Result<uint32_t> FakeKernel::GetXattrSize(uint64_t node, std::string_view name) {
  return AskFor<fuse_getxattr_out>(FUSE_GETXATTR, node, XattrBody(name, 0))
      .transform([](const fuse_getxattr_out& out) { return out.size; });
}

Result<std::string> FakeKernel::GetXattr(uint64_t node, std::string_view name, uint32_t size) {
  return AskForBytes(FUSE_GETXATTR, node, XattrBody(name, size), size);
}

Result<uint32_t> FakeKernel::ListXattrSize(uint64_t node) {
  return AskFor<fuse_getxattr_out>(FUSE_LISTXATTR, node, BytesOf(fuse_getxattr_in{}))
      .transform([](const fuse_getxattr_out& out) { return out.size; });
}

Result<std::string> FakeKernel::ListXattr(uint64_t node, uint32_t size) {
  fuse_getxattr_in in = {};
  in.size = size;
  return AskForBytes(FUSE_LISTXATTR, node, BytesOf(in), size);
}

void FakeKernel::Interrupt(uint64_t unique) {
  fuse_interrupt_in in = {};
  in.unique = unique;
  // The kernel numbers it as the request, with the lowest bit set.
  SendBytes(Frame(FUSE_INTERRUPT, 0, unique | 1, BytesOf(in)), unique | 1, Expect::kMaybe);
}

}  // namespace xzfs
