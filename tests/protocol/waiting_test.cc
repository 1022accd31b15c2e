// Requests that wait for something hold no thread: however many there are, others are answered.
#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "protocol/protocol_test.h"
#include "support/forwarding_os.h"

namespace xzfs {
namespace {

// More than there are request threads, and many more.
constexpr int kFew = 65;
constexpr int kMany = 1000;

template <class T>
std::string Raw(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

std::string OpenBody(uint32_t flags) {
  fuse_open_in in = {};
  in.flags = flags;
  return Raw(in);
}

std::string FlushBody(uint64_t handle) {
  fuse_flush_in in = {};
  in.fh = handle;
  return Raw(in);
}

std::string WriteBody(uint64_t handle, const std::string& bytes) {
  fuse_write_in in = {};
  in.fh = handle;
  in.size = static_cast<uint32_t>(bytes.size());
  return Raw(in) + bytes;
}

std::string CommandBody(const std::string& name) {
  fuse_getxattr_in in = {};
  in.size = 4096;
  return Raw(in) + name + '\0';
}

std::string TruncateBody(uint64_t size) {
  fuse_setattr_in in = {};
  in.valid = FATTR_SIZE;
  in.size = size;
  return Raw(in);
}

uint64_t HandleIn(const FakeKernel::Reply& reply) {
  fuse_open_out out = {};
  EXPECT_EQ(reply.error, 0);
  EXPECT_GE(reply.body.size(), sizeof out);
  std::memcpy(&out, reply.body.data(), std::min(sizeof out, reply.body.size()));
  return out.fh;
}

// Puts decoded bytes into the kernel's page cache, and is held while it does.
class HeldStoreTest : public ProtocolTest {
 protected:
  static constexpr uint32_t kPage = 4096;

  void SetUp() override {
    ProtocolTest::SetUp();
    WriteCompressed("a", text_, 64 << 10);
    WriteCompressed("b", text_, 64 << 10);
    Serve({.before_store = [this](uint64_t) { gate_.Pass(); }});
    a_ = NodeOf("a");
    reader_ = OpenNode(a_);
    ReadA(100 << 10);
    ASSERT_TRUE(gate_.AwaitArrival());
  }
  void TearDown() override {
    gate_.Open();
    ProtocolTest::TearDown();
  }
  void ReadA(uint64_t offset) {
    const auto got = kernel().Read(a_, reader_, offset, kPage);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(*got, text_.substr(offset, kPage));
  }
  void Release(uint64_t node, uint64_t handle) {
    fuse_release_in in = {};
    in.fh = handle;
    EXPECT_EQ(kernel().Ask(FUSE_RELEASE, node, Raw(in)).error, 0);
  }
  void OpenBesideReads(int count) {
    std::vector<uint64_t> opens;
    for (int i = 0; i < count; ++i) {
      opens.push_back(kernel().Send(FUSE_OPEN, a_, OpenBody(O_RDWR)));
    }
    for (uint64_t offset = 300 << 10; offset < 1000 << 10; offset += 70 << 10) {
      ReadA(offset);
    }
    EXPECT_EQ(kernel().unanswered_count(), opens.size())
        << "a program that may write now could see old bytes come back";
    gate_.Open();
    for (const uint64_t unique : opens) {
      Release(a_, HandleIn(kernel().Await(unique)));
    }
  }

  Gate gate_;
  const std::string text_ = SomeText(1200000);
  uint64_t a_ = 0;
  uint64_t reader_ = 0;
};

TEST_F(HeldStoreTest, MoreOpensForWritingThanThreadsKeepNoReadWaiting) { OpenBesideReads(kFew); }

TEST_F(HeldStoreTest, AThousandOpensForWritingKeepNoReadWaiting) { OpenBesideReads(kMany); }

TEST_F(HeldStoreTest, TruncationsWaitInTheSameWay) {
  std::vector<uint64_t> truncations;
  for (int i = 0; i < kFew; ++i) {
    truncations.push_back(kernel().Send(FUSE_SETATTR, a_, TruncateBody(5000)));
  }
  EXPECT_TRUE(kernel().GetAttr(a_));
  EXPECT_EQ(kernel().unanswered_count(), truncations.size());
  gate_.Open();
  for (const uint64_t unique : truncations) {
    EXPECT_EQ(kernel().Await(unique).error, 0);
  }
}

TEST_F(HeldStoreTest, OpensForReadingAndOfOtherFilesDoNotWait) {
  EXPECT_TRUE(kernel().Open(a_, O_RDONLY));
  EXPECT_TRUE(kernel().Open(NodeOf("b"), O_RDWR));
}

TEST_F(HeldStoreTest, ASignalEndsTheWaitOfAnOpen) {
  const uint64_t open = kernel().Send(FUSE_OPEN, a_, OpenBody(O_RDWR));
  ReadA(300 << 10);
  kernel().Interrupt(open);
  EXPECT_EQ(kernel().Await(open).error, EINTR);
  gate_.Open();
  // It left no writer behind: the kernel gets pages again.
  ReadA(500 << 10);
  EXPECT_TRUE(Eventually([&] {
    const auto stored = kernel().stored_pages();
    return !stored.empty() && stored.back().offset == 448 << 10;
  }));
}

TEST_F(HeldStoreTest, NothingIsStoredOfAFileThatIsOpenForWriting) {
  const uint64_t open = kernel().Send(FUSE_OPEN, a_, OpenBody(O_RDWR));
  ReadA(300 << 10);
  gate_.Open();
  EXPECT_NE(HandleIn(kernel().Await(open)), 0U);
  EXPECT_EQ(kernel().stored_pages().size(), 1U);
  // The other file's is sent after what was still waiting of this one.
  const uint64_t b = NodeOf("b");
  ASSERT_TRUE(kernel().Read(b, OpenNode(b), 200 << 10, kPage));
  ASSERT_TRUE(Eventually([&] { return kernel().stored_pages().size() >= 2; }));
  for (size_t i = 1; i < kernel().stored_pages().size(); ++i) {
    EXPECT_EQ(kernel().stored_pages()[i].node, b);
  }
}

// Commits that can't sync what they made until the gate is open, and fail then.
class HeldCommitOs : public ForwardingOs {
 public:
  Gate gate;
  std::atomic<bool> is_held = false;

 protected:
  int Before(std::string_view call, const std::string&) override {
    if (call != "Sync" || !is_held) {
      return 0;
    }
    gate.Pass();
    return -EIO;
  }
};

class HeldCommitTest : public ProtocolTest {
 protected:
  void TearDown() override {
    os_.gate.Open();
    ProtocolTest::TearDown();
  }
  void ServeClosers() {
    WriteCompressed("compressed", text_, 64 << 10);
    Serve({.os = &os_, .options = [](Options& options) {
             options.sync_close = true;
             options.settle_s = 3600;
             options.preset = 0;
           }});
    cold_ = NodeOf("compressed");
    reader_ = OpenNode(cold_);
    // Makes the session, which syncs it.
    const uint64_t first = NodeOf("f");
    const auto opened = kernel().Open(first, O_RDWR);
    ASSERT_TRUE(opened);
    ASSERT_EQ(kernel().Ask(FUSE_WRITE, first, WriteBody(opened->fh, "x")).error, 0);
    os_.is_held = true;
  }
  // A plain file that was written and is being closed: the number of its FLUSH.
  uint64_t WriteAndClose(const std::string& name) {
    const uint64_t node = NodeOf(name);
    const auto opened = kernel().Open(node, O_RDWR);
    EXPECT_TRUE(opened);
    EXPECT_EQ(kernel().Ask(FUSE_WRITE, node, WriteBody(opened->fh, SomeText(5000))).error, 0);
    return kernel().Send(FUSE_FLUSH, node, FlushBody(opened->fh));
  }
  void ReadCompressed(uint64_t offset) {
    const auto got = kernel().Read(cold_, reader_, offset, 4096);
    ASSERT_TRUE(got) << got.error().message;
    ASSERT_EQ(*got, text_.substr(offset, 4096));
  }

  HeldCommitOs os_;
  const std::string text_ = SomeText(600000);
  uint64_t cold_ = 0;
  uint64_t reader_ = 0;
};

TEST_F(HeldCommitTest, AThousandClosesThatWaitForCommitsKeepNoReadWaiting) {
  source().Write("f", "x");
  for (int i = 0; i < kMany; ++i) {
    source().Write("f" + std::to_string(i), "x");
  }
  ServeClosers();
  std::vector<uint64_t> closes;
  for (int i = 0; i < kMany; ++i) {
    closes.push_back(WriteAndClose("f" + std::to_string(i)));
  }
  ReadCompressed(300 << 10);
  EXPECT_EQ(kernel().unanswered_count(), closes.size());
  kernel().Interrupt(closes[7]);
  ReadCompressed(400 << 10);
  EXPECT_EQ(kernel().unanswered_count(), closes.size()) << "a signal doesn't end a close";
  os_.gate.Open();
  for (const uint64_t unique : closes) {
    EXPECT_EQ(kernel().Await(unique).error, EIO) << "close tells what became of the commit";
  }
}

TEST_F(HeldCommitTest, AThousandCommandsThatWaitForCommitsKeepNoReadWaiting) {
  source().Write("f", "x");
  source().Write("f0", "x");
  ServeClosers();
  const uint64_t close = WriteAndClose("f0");
  std::vector<uint64_t> syncs;
  for (int i = 0; i < kMany; ++i) {
    syncs.push_back(kernel().Send(FUSE_GETXATTR, FUSE_ROOT_ID, CommandBody("user.xzfs.cmd.sync")));
  }
  ReadCompressed(300 << 10);
  EXPECT_EQ(kernel().unanswered_count(), syncs.size() + 1);
  kernel().Interrupt(syncs[7]);
  EXPECT_EQ(kernel().Await(syncs[7]).error, EINTR);
  syncs.erase(syncs.begin() + 7);
  EXPECT_EQ(kernel().unanswered_count(), syncs.size() + 1);
  os_.gate.Open();
  for (const uint64_t unique : syncs) {
    EXPECT_EQ(kernel().Await(unique).body.substr(0, 7), "error: ");
  }
  EXPECT_EQ(kernel().Await(close).error, EIO);
}

// Another mount keeps programs away that want to write to the file.
class LeasedOs : public ForwardingOs {
 public:
  std::atomic<bool> is_leased = true;

 protected:
  int Before(std::string_view call, const std::string& name) override {
    return call == "OpenBeneath" && name == "plain" && is_leased ? -EWOULDBLOCK : 0;
  }
};

class LeasedTest : public ProtocolTest {
 protected:
  void SetUp() override {
    ProtocolTest::SetUp();
    source().Write("plain", "hello");
    source().Write("other", "text");
    Serve({.os = &os_});
    plain_ = NodeOf("plain");
    for (int i = 0; i < kFew; ++i) {
      waiting_.push_back(kernel().Send(FUSE_OPEN, plain_, OpenBody(O_RDWR)));
      waiting_.push_back(kernel().Send(FUSE_SETATTR, plain_, TruncateBody(3)));
    }
  }

  LeasedOs os_;
  uint64_t plain_ = 0;
  std::vector<uint64_t> waiting_;
};

TEST_F(LeasedTest, WhoWaitsForAnotherMountsCommitKeepsNobodyWaiting) {
  const uint64_t other = NodeOf("other");
  EXPECT_EQ(*kernel().Read(other, OpenNode(other), 0, 100), "text");
  EXPECT_EQ(kernel().unanswered_count(), waiting_.size());
  os_.is_leased = false;
  for (const uint64_t unique : waiting_) {
    EXPECT_EQ(kernel().Await(unique).error, 0);
  }
  EXPECT_EQ(kernel().GetAttr(plain_)->attr.size, 3U);
}

TEST_F(LeasedTest, ASignalEndsThatWait) {
  for (const uint64_t unique : waiting_) {
    kernel().Interrupt(unique);
  }
  for (const uint64_t unique : waiting_) {
    EXPECT_EQ(kernel().Await(unique).error, EINTR);
  }
  EXPECT_EQ(kernel().GetAttr(plain_)->attr.size, 5U);
}

// Holds whoever reads the older formats behind their first bytes: for the size, which isn't in
// them.
class HeldDecodeOs : public ForwardingOs {
 public:
  Gate gate;

  int OpenBeneath(int dir, const std::string& name, int flags, mode_t mode) override {
    const int fd = ForwardingOs::OpenBeneath(dir, name, flags, mode);
    if (fd >= 0 && name.ends_with(".lzma")) {
      const std::lock_guard<std::mutex> lock(mutex_);
      legacy_.insert(fd);
    }
    return fd;
  }
  void Close(int fd) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      legacy_.erase(fd);
    }
    ForwardingOs::Close(fd);
  }
  ssize_t PRead(int fd, std::span<std::byte> out, uint64_t offset) override {
    if (offset >= 4096 && IsLegacy(fd)) {
      gate.Pass();
    }
    return ForwardingOs::PRead(fd, out, offset);
  }

 protected:
  int Before(std::string_view, const std::string&) override { return 0; }

 private:
  bool IsLegacy(int fd) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return legacy_.contains(fd);
  }
  std::mutex mutex_;
  std::set<int> legacy_;
};

class HeldDecodeTest : public ProtocolTest {
 protected:
  void SetUp() override {
    ProtocolTest::SetUp();
    source().Write("plain", SomeNoise(kPlainBytes, 1));
    source().Write("other", "text");
    const std::string from = (source().path() / "plain").string();
    const std::string first = (source().path() / "0.lzma").string();
    // Out of a pipe, so that the size isn't known when it's written.
    ASSERT_EQ(std::system(("cat " + from + " | xz --format=lzma -0 > " + first).c_str()), 0);
    for (int i = 1; i < kFew; ++i) {
      std::filesystem::copy(first, source().path() / (std::to_string(i) + ".lzma"));
    }
    Serve({.os = &os_});
    for (int i = 0; i < kFew; ++i) {
      lookups_.push_back(kernel().Send(FUSE_LOOKUP, FUSE_ROOT_ID, std::to_string(i) + '\0'));
    }
    ASSERT_TRUE(os_.gate.AwaitArrival());
  }
  void TearDown() override {
    os_.gate.Open();
    ProtocolTest::TearDown();
  }

  static constexpr size_t kPlainBytes = 200'000;
  HeldDecodeOs os_;
  std::vector<uint64_t> lookups_;
};

TEST_F(HeldDecodeTest, FilesThatAreDecodedForTheirSizeKeepNobodyWaiting) {
  EXPECT_TRUE(kernel().Lookup(FUSE_ROOT_ID, "other"));
  fuse_rename_in rename = {};
  rename.newdir = FUSE_ROOT_ID;
  const std::string names = std::string("other") + '\0' + "moved" + '\0';
  EXPECT_EQ(kernel().Ask(FUSE_RENAME, FUSE_ROOT_ID, Raw(rename) + names).error, 0)
      << "the names are not locked during the wait";
  EXPECT_TRUE(kernel().Lookup(FUSE_ROOT_ID, "moved"));
  EXPECT_EQ(ListFrom(FUSE_ROOT_ID, 0, 65536, /*plus=*/true).size(), 4U + kFew)
      << "a listing doesn't wait for their sizes";
  EXPECT_EQ(kernel().unanswered_count(), lookups_.size());
  kernel().Interrupt(lookups_.back());
  EXPECT_EQ(kernel().Await(lookups_.back()).error, EINTR);
  lookups_.pop_back();
  os_.gate.Open();
  for (const uint64_t unique : lookups_) {
    const auto reply = kernel().Await(unique);
    ASSERT_EQ(reply.error, 0);
    fuse_entry_out entry = {};
    std::memcpy(&entry, reply.body.data(), sizeof entry);
    EXPECT_EQ(entry.attr.size, kPlainBytes);
  }
}

// What file systems below the source should not return, and some do.
class OddErrorOs : public ForwardingOs {
 protected:
  int Before(std::string_view call, const std::string&) override {
    return call == "GetXattrAt" ? -524 : 0;
  }
};

class OddErrorTest : public ProtocolTest {
 protected:
  OddErrorOs os_;
};

TEST_F(OddErrorTest, AnErrorThatTheKernelDoesNotTakeIsAnsweredWithOneThatItTakes) {
  source().Write("f", "x");
  Serve({.os = &os_});
  EXPECT_EQ(ErrorOf(kernel().GetXattr(NodeOf("f"), "user.note", 100)), EIO);
}

}  // namespace
}  // namespace xzfs
