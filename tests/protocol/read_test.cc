// READ: the right bytes, whatever is asked and by how many.
#include <algorithm>
#include <limits>
#include <random>
#include <thread>

#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

// Three Streams with every size of Block that matters for a read of a few pages.
std::string MixedXz(const std::string& text) {
  XzBuilder builder;
  builder.AddStream(std::string_view(text).substr(0, 100000), 1000);
  builder.AddPadding(8);
  builder.AddStream(std::string_view(text).substr(100000, 300000), 65536, kCheckSha256);
  builder.AddStream(std::string_view(text).substr(400000), 1 << 20, kCheckCrc32);
  return builder.bytes();
}

class ReadTest : public ProtocolTest {
 protected:
  // Serves `text` as "compressed" and "plain" and opens both.
  void ServeText(const std::string& text, TestSession::Setup setup = {}) {
    text_ = text;
    source().Write("compressed.xz", MixedXz(text));
    source().Write("plain", text);
    Serve(std::move(setup));
    for (const char* name : {"compressed", "plain"}) {
      const uint64_t node = NodeOf(name);
      files_.push_back({name, node, OpenNode(node)});
    }
  }

  struct Opened {
    std::string name;
    uint64_t node;
    uint64_t handle;
  };

  std::string Expected(uint64_t offset, uint32_t size) const {
    return offset >= text_.size() ? "" : text_.substr(offset, size);
  }
  void ExpectRead(const Opened& file, uint64_t offset, uint32_t size) {
    const auto got = kernel().Read(file.node, file.handle, offset, size);
    ASSERT_TRUE(got) << file.name << " at " << offset << ": " << got.error().message;
    ASSERT_TRUE(*got == Expected(offset, size))
        << file.name << ": " << size << " bytes at " << offset << ", got " << got->size();
  }

  std::string text_;
  std::vector<Opened> files_;
};

TEST_F(ReadTest, ReadsAtRandomOffsetsGiveTheRightBytes) {
  ServeText(SomeText(1500000));
  std::mt19937 random(7);
  for (int i = 0; i < 400; ++i) {
    const auto offset = static_cast<uint64_t>(random() % (text_.size() + 5000));
    const auto size = static_cast<uint32_t>(random() % (i % 10 == 0 ? 200000 : 9000));
    for (const Opened& file : files_) {
      ASSERT_NO_FATAL_FAILURE(ExpectRead(file, offset, size));
    }
  }
}

TEST_F(ReadTest, ReadsInOrderGiveTheWholeFile) {
  ServeText(SomeText(1500000));
  for (const Opened& file : files_) {
    for (uint64_t offset = 0; offset < text_.size() + 131072; offset += 131072) {
      ASSERT_NO_FATAL_FAILURE(ExpectRead(file, offset, 131072));
    }
  }
}

TEST_F(ReadTest, AtAndBeyondTheEndThereIsNothing) {
  ServeText(SomeText(500000));
  for (const Opened& file : files_) {
    ExpectRead(file, 499999, 4096);
    for (const uint64_t offset :
         {uint64_t{500000}, uint64_t{500001}, uint64_t{1} << 32, uint64_t{1} << 40}) {
      ExpectRead(file, offset, 4096);
    }
  }
  const Opened& compressed = files_.front();
  ExpectRead(compressed, std::numeric_limits<int64_t>::max(), 4096);
  ExpectRead(compressed, std::numeric_limits<int64_t>::max() - 100, 4096);
}

TEST_F(ReadTest, ZeroBytesAreAnEmptyAnswer) {
  ServeText(SomeText(500000));
  for (const Opened& file : files_) {
    for (const uint64_t offset : {0U, 1000U, 500000U, 600000U}) {
      ExpectRead(file, offset, 0);
    }
  }
}

TEST_F(ReadTest, ANegativeOffsetIsRefused) {
  ServeText(SomeText(500000));
  for (const Opened& file : files_) {
    for (const int64_t offset :
         {int64_t{-1}, int64_t{-4096}, std::numeric_limits<int64_t>::min()}) {
      EXPECT_EQ(ErrorOf(kernel().Read(file.node, file.handle, static_cast<uint64_t>(offset), 4096)),
                EINVAL);
    }
    ExpectRead(file, 0, 4096);
  }
}

TEST_F(ReadTest, AReadOfAMebibyteIsOneAnswer) {
  ServeText(SomeText(3000000), {.transport = FakeKernel::Transport::kStream});
  for (const Opened& file : files_) {
    for (const uint64_t offset : {0U, 1U << 20, 99U, 1999999U, 2999999U}) {
      ASSERT_NO_FATAL_FAILURE(ExpectRead(file, offset, 1 << 20));
    }
  }
}

TEST_F(ReadTest, AnEmptyFileReadsAsEmpty) {
  WriteCompressed("a", "");
  Serve();
  const uint64_t node = NodeOf("a");
  const uint64_t handle = OpenNode(node);
  EXPECT_EQ(kernel().GetAttr(node)->attr.size, 0U);
  EXPECT_EQ(kernel().Read(node, handle, 0, 4096).value_or("?"), "");
}

TEST_F(ReadTest, ReadsInFlightTogetherAreAllAnswered) {
  ServeText(SomeText(1500000));
  struct Pending {
    uint64_t unique;
    uint64_t offset;
    uint32_t size;
  };
  std::mt19937 random(3);
  for (int round = 0; round < 5; ++round) {
    std::vector<Pending> pending;
    // More than there are request threads.
    for (int i = 0; i < 100; ++i) {
      const Opened& file = files_[random() % files_.size()];
      const auto offset = static_cast<uint64_t>(random() % text_.size());
      const auto size = static_cast<uint32_t>(random() % 32768);
      pending.push_back({kernel().SendRead(file.node, file.handle, offset, size), offset, size});
    }
    std::shuffle(pending.begin(), pending.end(), random);
    for (const Pending& read : pending) {
      const FakeKernel::Reply reply = kernel().Await(read.unique);
      EXPECT_EQ(reply.error, 0);
      EXPECT_TRUE(reply.body == Expected(read.offset, read.size)) << read.offset;
    }
  }
}

TEST_F(ReadTest, ManyReadersOfOneFileEachGetTheirBytes) {
  ServeText(SomeText(1500000));
  std::vector<std::thread> readers;
  for (unsigned t = 0; t < 4; ++t) {
    readers.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 60; ++i) {
        const Opened& file = files_[i % 4 == 0 ? 1 : 0];
        ExpectRead(file, random() % text_.size(), static_cast<uint32_t>(random() % 65536));
      }
    });
  }
  for (std::thread& reader : readers) {
    reader.join();
  }
}

TEST_F(ReadTest, AnInterruptedReadIsAnsweredOnce) {
  ServeText(SomeText(1500000));
  for (uint64_t i = 0; i < 100; ++i) {
    const Opened& file = files_[i % 2];
    const uint64_t offset = i * 15000;
    const uint64_t unique = kernel().SendRead(file.node, file.handle, offset, 4096);
    kernel().Interrupt(unique);
    const FakeKernel::Reply reply = kernel().Await(unique);
    EXPECT_TRUE(reply.error == EINTR || reply.body == Expected(offset, 4096)) << reply.error;
  }
  kernel().Interrupt(123456789);
  EXPECT_TRUE(kernel().StatFs()) << "an interrupt of an unknown request is put aside";
}

TEST_F(ReadTest, ReleaseIsAnsweredAndOtherHandlesStayGood) {
  ServeText(SomeText(500000));
  for (const Opened& file : files_) {
    const Opened other{file.name, file.node, OpenNode(file.node)};
    EXPECT_NE(other.handle, file.handle);
    ExpectRead(other, 1000, 4096);
    EXPECT_TRUE(kernel().Release(file.node, file.handle));
    ExpectRead(other, 400000, 4096);
    EXPECT_TRUE(kernel().Release(other.node, other.handle));
  }
}

TEST_F(ReadTest, ADamagedBlockIsEIOForReadsThatTouchItAndNothingElse) {
  const std::string text = SomeText(100000);
  XzBuilder builder;
  builder.AddStream(text, 10000);
  std::string bytes = builder.bytes();
  const size_t middle = (builder.block_offsets()[4] + builder.block_ends()[4]) / 2;
  bytes[middle] = static_cast<char>(bytes[middle] ^ 1);
  source().Write("a.xz", bytes);
  Serve();
  const uint64_t node = NodeOf("a");
  const uint64_t handle = OpenNode(node);
  const auto read = [&](uint64_t offset, uint32_t size) {
    return kernel().Read(node, handle, offset, size);
  };
  for (uint64_t offset = 0; offset < 100000; offset += 1000) {
    const auto got = read(offset, 1000);
    if (offset >= 40000 && offset < 50000) {
      EXPECT_EQ(ErrorOf(got), EIO) << offset;
    } else {
      EXPECT_TRUE(got && *got == text.substr(offset, 1000)) << offset;
    }
  }
  EXPECT_EQ(ErrorOf(read(49999, 1)), EIO);
  EXPECT_EQ(ErrorOf(read(40000, 60000)), EIO);
  EXPECT_EQ(kernel().GetAttr(node)->attr.size, 100000U);
}

}  // namespace
}  // namespace xzfs
