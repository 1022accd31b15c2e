#include "store/ordered_encoder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <new>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/fail.h"
#include "xz/stream_builder.h"

namespace xzfs {
namespace {

using PlainBytes = Result<std::span<const std::byte>>;

class OrderedEncoderTest : public testing::Test {
 protected:
  OrderedEncoderTest() { pool_.Start(); }

  // A Block of this many bytes.
  static OrderedEncoder::Plain Zeros(size_t bytes) {
    return [bytes](std::vector<std::byte>& buffer) -> PlainBytes {
      buffer.assign(bytes, std::byte{0});
      return buffer;
    };
  }

  EncodePool pool_{2, 1 << 20};
  const OrderedEncoder::Options options_{.encode = {.preset = 0}, .with_plain_crc = true};
};

TEST_F(OrderedEncoderTest, BlocksComeOutInTheOrderInWhichTheyWereSubmitted) {
  OrderedEncoder encoder(pool_, options_);
  for (size_t i = 1; i <= 20; ++i) {
    encoder.Submit(Zeros(i * 1000));
  }
  encoder.SubmitHere(Zeros(21'000));
  for (size_t i = 1; i <= 21; ++i) {
    const auto encoded = encoder.Next();
    ASSERT_TRUE(encoded) << encoded.error().message;
    EXPECT_EQ(encoded->block.plain_size, i * 1000);
    EXPECT_EQ(encoded->plain_crc, Crc64(std::vector<std::byte>(i * 1000)));
  }
  EXPECT_EQ(encoder.size(), 0U);
}

TEST_F(OrderedEncoderTest, AnErrorComesOutInItsPlaceAndTheOthersAreGood) {
  OrderedEncoder encoder(pool_, options_);
  encoder.Submit(Zeros(1000));
  encoder.Submit([](std::vector<std::byte>&) -> PlainBytes { return Fail(EIO, "no"); });
  encoder.Submit([](std::vector<std::byte>&) -> PlainBytes { throw std::bad_alloc(); });
  encoder.Submit(Zeros(2000));
  EXPECT_TRUE(encoder.Next());
  EXPECT_EQ(encoder.Next().error().code, EIO);
  EXPECT_EQ(encoder.Next().error().code, ENOMEM);
  EXPECT_TRUE(encoder.Next());
}

TEST_F(OrderedEncoderTest, WhenItIsCancelledNothingMoreIsEncoded) {
  const std::atomic<bool> cancelled{true};
  OrderedEncoder encoder(pool_, {.encode = {.preset = 0}, .cancelled = &cancelled});
  encoder.Submit(Zeros(1000));
  EXPECT_EQ(encoder.Next().error().code, ECANCELED);
}

TEST_F(OrderedEncoderTest, TheDestructorWaitsForRunningBlocksAndSkipsTheRest) {
  std::promise<void> gate;
  const std::shared_future<void> may_go = gate.get_future();
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  const auto held = [&](std::vector<std::byte>& buffer) -> PlainBytes {
    ++begun;
    may_go.wait();
    buffer.assign(1000, std::byte{0});
    ++ended;
    return buffer;
  };
  std::atomic<bool> is_gone{false};
  std::thread user([&] {
    {
      OrderedEncoder encoder(pool_, options_);
      for (int i = 0; i < 4; ++i) {  // two run, and the queue of two is full
        encoder.Submit(held);
      }
    }
    is_gone = true;
  });
  while (begun < 2) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(is_gone);
  gate.set_value();
  user.join();
  EXPECT_EQ(begun, ended);
}

}  // namespace
}  // namespace xzfs
