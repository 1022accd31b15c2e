// Requests that no kernel sends. The kernel is trusted: libfuse checks next to nothing, so this is
// about not falling over by accident. What is not sent here because it can't be survived:
// - a READ or RELEASE with a handle that OPEN didn't give: a handle is an address of ours;
// - a READ, READDIR or READDIRPLUS of gigabytes: the reply's buffer is made before anything is
//   looked at (the kernel asks for 1 MiB at most);
// - a BATCH_FORGET that claims more than libfuse's receive buffer holds (65,000 of them): libfuse
//   hands the count on without the message's length;
// - a name without its NUL in a message that fills libfuse's buffer to the last byte;
// - a NOTIFY_REPLY that answers nothing: libfuse 3.14 never frees it;
// - a message shorter than a header ends the session (tested below).
#include <algorithm>
#include <cstring>
#include <random>

#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

// Of fuse_read_in.
constexpr size_t kReadSizeAt = 16;

class MalformedTest : public ProtocolTest {
 protected:
  void SetUp() override {
    ProtocolTest::SetUp();
    WriteCompressed("a", text_, 4096);
    // One buffer receives all requests, so that what is behind a short one is known: see Wash.
    ServeOneByOne();
    node_ = NodeOf("a");
  }

  // libfuse reads on behind the end of a truncated request, where the one before it was: leaves
  // zeros there.
  void Wash() { EXPECT_EQ(kernel().Ask(FUSE_STATFS, 1, std::string(16384, '\0')).error, 0); }

  void ExpectAlive() {
    EXPECT_EQ(kernel().unanswered_count(), 0U);
    const uint64_t node = NodeOf("a");
    const uint64_t handle = OpenNode(node);
    EXPECT_TRUE(kernel().Read(node, handle, 5000, 10000).value_or("?") ==
                text_.substr(5000, 10000));
    EXPECT_TRUE(kernel().Release(node, handle));
  }

  // Sends a request that may be refused but is answered.
  void AskAnything(uint32_t opcode, uint64_t node, std::string_view body) {
    if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET) {
      kernel().Send(opcode, node, body, FakeKernel::Expect::kNoReply);
    } else if (opcode == FUSE_INTERRUPT) {
      kernel().Send(opcode, node, body, FakeKernel::Expect::kMaybe);
    } else {
      const FakeKernel::Reply reply = kernel().Ask(opcode, node, body);
      if (opcode == FUSE_OPEN && reply.error == 0) {
        fuse_open_out opened = {};
        std::memcpy(&opened, reply.body.data(), std::min(reply.body.size(), sizeof opened));
        fuse_release_in release = {};
        release.fh = opened.fh;
        EXPECT_EQ(kernel().Ask(FUSE_RELEASE, node, BytesOf(release)).error, 0);
      }
    }
  }

  template <class T>
  static std::string BytesOf(const T& value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  }

  const std::string text_ = SomeText(50000);
  uint64_t node_ = 0;
};

TEST_F(MalformedTest, OperationsThatWeDoNotHaveAreENOSYS) {
  const std::string body(256, '\0');
  for (const uint32_t opcode : {FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW, FUSE_ACCESS, FUSE_BMAP,
                                FUSE_IOCTL, FUSE_POLL, FUSE_COPY_FILE_RANGE}) {
    EXPECT_EQ(kernel().Ask(opcode, node_, body).error, ENOSYS) << opcode;
  }
  ExpectAlive();
}

TEST_F(MalformedTest, HandlesThatAreNotOpenAreEBADF) {
  const std::string body(256, '\x55');
  for (const uint32_t opcode :
       {FUSE_READ, FUSE_WRITE, FUSE_FSYNC, FUSE_FLUSH, FUSE_FALLOCATE, FUSE_LSEEK}) {
    EXPECT_EQ(kernel().Ask(opcode, node_, body).error, EBADF) << opcode;
  }
  ExpectAlive();
}

TEST_F(MalformedTest, UnknownOperationsAreENOSYS) {
  const std::string body(256, '\xff');
  for (const uint32_t opcode :
       {0U,  7U,   19U,  48U,   49U,   50U,   51U,    52U,         53U,         63U,
        64U, 100U, 255U, 1000U, 4095U, 4097U, 65536U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
    EXPECT_EQ(kernel().Ask(opcode, node_, body).error, ENOSYS) << opcode;
    EXPECT_EQ(kernel().Ask(opcode, node_, {}).error, ENOSYS) << opcode;
  }
  EXPECT_EQ(kernel().Ask(CUSE_INIT, 0, body).error, EIO);
  EXPECT_EQ(kernel().Ask(FUSE_INIT, 0, body).error, EIO);
  ExpectAlive();
}

TEST_F(MalformedTest, TheLengthInTheHeaderIsNotReliedOn) {
  for (const uint32_t length : {0U, 1U, 39U, 40U, 41U, 4096U, 0x7fffffffU, 0xffffffffU}) {
    const uint64_t unique = kernel().NewUnique();
    std::string request =
        FakeKernel::Frame(FUSE_LOOKUP, FUSE_ROOT_ID, unique, std::string("a\0", 2));
    std::memcpy(request.data(), &length, sizeof length);
    kernel().SendBytes(request, unique, FakeKernel::Expect::kReply);
    EXPECT_EQ(kernel().Await(unique).error, 0) << length;
  }
  ExpectAlive();
}

TEST_F(MalformedTest, RequestsThatAreCutOffAreAnswered) {
  fuse_getxattr_in xattr = {};
  xattr.size = 100;
  fuse_read_in listing = {};
  listing.size = 4096;
  fuse_forget_in forget = {};
  forget.nlookup = 1;
  fuse_batch_forget_in batch = {};
  batch.count = 2;
  const std::pair<uint32_t, std::string> requests[] = {
      {FUSE_LOOKUP, "a name"},
      {FUSE_GETATTR, BytesOf(fuse_getattr_in{})},
      {FUSE_OPEN, BytesOf(fuse_open_in{})},
      {FUSE_OPENDIR, BytesOf(fuse_open_in{})},
      {FUSE_READDIR, BytesOf(listing)},
      {FUSE_READDIRPLUS, BytesOf(listing)},
      {FUSE_RELEASEDIR, BytesOf(fuse_release_in{})},
      {FUSE_GETXATTR, BytesOf(xattr) + "user.some"},
      {FUSE_LISTXATTR, BytesOf(xattr)},
      {FUSE_FORGET, BytesOf(forget)},
      {FUSE_BATCH_FORGET, BytesOf(batch) + std::string(32, '\1')},
      {FUSE_INTERRUPT, BytesOf(fuse_interrupt_in{})},
      {FUSE_READLINK, ""},
      {FUSE_STATFS, ""}};
  for (const auto& [opcode, body] : requests) {
    for (size_t size = 0; size <= body.size(); ++size) {
      for (const uint64_t node : {uint64_t{FUSE_ROOT_ID}, node_}) {
        Wash();
        AskAnything(opcode, node, std::string_view(body).substr(0, size));
      }
    }
  }
  ExpectAlive();
}

TEST_F(MalformedTest, RandomBytesAreAnswered) {
  const uint32_t opcodes[] = {
      FUSE_LOOKUP,   FUSE_FORGET,      FUSE_GETATTR, FUSE_SETATTR,   FUSE_READLINK,
      FUSE_MKDIR,    FUSE_RENAME,      FUSE_OPEN,    FUSE_STATFS,    FUSE_WRITE,
      FUSE_SETXATTR, FUSE_GETXATTR,    FUSE_FLUSH,   FUSE_LISTXATTR, FUSE_INIT,
      FUSE_OPENDIR,  FUSE_READDIR,     FUSE_ACCESS,  FUSE_CREATE,    FUSE_INTERRUPT,
      FUSE_BMAP,     FUSE_READDIRPLUS, FUSE_RENAME2, FUSE_IOCTL,     FUSE_RELEASEDIR,
      FUSE_POLL,     FUSE_FALLOCATE,   FUSE_LSEEK,   FUSE_SYMLINK,   4096};
  std::mt19937 random(11);
  for (int i = 0; i < 3000; ++i) {
    const uint32_t opcode = opcodes[random() % std::size(opcodes)];
    const uint64_t node = random() % 3 == 0 ? FUSE_ROOT_ID : random() % 2 == 0 ? node_ : random();
    const size_t size = random() % (i % 50 == 0 ? 60000 : 300);
    std::string body = SomeNoise(size, static_cast<uint32_t>(random()));
    if (opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS) {
      body.resize(std::max<size_t>(body.size(), kReadSizeAt + 4));
      body[kReadSizeAt + 2] = body[kReadSizeAt + 3] = 0;  // at most 64 KiB
    }
    AskAnything(opcode, node, body);
    if (i % 20 == 0) {
      node_ = NodeOf("a");  // a FORGET may have been among them
    }
  }
  ExpectAlive();
}

TEST_F(MalformedTest, ABatchForgetThatClaimsMoreThanItHoldsIsSurvived) {
  for (const uint32_t count : {2U, 100U, 1000U}) {
    Wash();
    fuse_batch_forget_in in = {};
    in.count = count;
    AskAnything(FUSE_BATCH_FORGET, 0, BytesOf(in) + BytesOf(fuse_forget_one{node_ + 1000, 1}));
    EXPECT_TRUE(kernel().GetAttr(node_));
  }
  // What lies behind it in the buffer are forgets from earlier messages, or anything: the node may
  // be gone, the session is not.
  fuse_batch_forget_in in = {};
  in.count = 60000;
  AskAnything(FUSE_BATCH_FORGET, 0, BytesOf(in) + BytesOf(fuse_forget_one{node_ + 1000, 1}));
  ExpectAlive();
}

TEST_F(MalformedTest, RequestsWithTheSameNumberAreEachAnswered) {
  const uint64_t unique = kernel().NewUnique();
  const std::string request = FakeKernel::Frame(FUSE_STATFS, 1, unique, {});
  for (int i = 0; i < 3; ++i) {
    kernel().SendBytes(request, unique, FakeKernel::Expect::kReply);
    EXPECT_EQ(kernel().Await(unique).error, 0);
  }
}

TEST_F(MalformedTest, AMessageShorterThanAHeaderEndsTheSessionWithAnError) {
  kernel().SendBytes("nonsense", 0, FakeKernel::Expect::kNoReply);
  EXPECT_FALSE(session().Join());
}

}  // namespace
}  // namespace xzfs
