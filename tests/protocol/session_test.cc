// How a session begins and ends.
#include <atomic>
#include <thread>
#include <vector>

#include "protocol/counting_os.h"
#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

// Ends of sessions are races: each is tried so often.
constexpr int kRounds = 20;

class SessionTest : public ProtocolTest, public testing::WithParamInterface<bool> {
 protected:
  TestSession::Setup ThreadingOfTheTest() { return {.single_threaded = GetParam()}; }
};

INSTANTIATE_TEST_SUITE_P(, SessionTest, testing::Values(false, true), [](const auto& info) {
  return info.param ? "SingleThreaded" : "MultiThreaded";
});

using InitTest = ProtocolTest;

TEST_F(InitTest, InitAgreesOnVersionSevenAndTellsOurLimits) {
  Serve({.with_init = false});
  session().StartServing();
  const auto init = kernel().Init();
  ASSERT_TRUE(init);
  EXPECT_EQ(init->major, 7U);
  EXPECT_GE(init->minor, 31U);
  EXPECT_EQ(init->max_background, 64U) << "or many readers run into the kernel's default of 12";
  EXPECT_EQ(init->max_readahead, 128U << 10) << "as much as the kernel offered";
  EXPECT_TRUE(init->flags & FUSE_MAX_PAGES);
  EXPECT_EQ(init->max_pages, 256U) << "requests of 1 MiB";
  EXPECT_TRUE(init->flags & FUSE_DO_READDIRPLUS);
  EXPECT_TRUE(init->flags & FUSE_ASYNC_READ);
  // Not FUSE_PARALLEL_DIROPS: libfuse 3.14 wants it by default but never tells the kernel.
  EXPECT_EQ(init->flags & (FUSE_SPLICE_READ | FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE), 0U);
  EXPECT_EQ(init->flags & FUSE_WRITEBACK_CACHE, 0U);
}

TEST_F(InitTest, AKernelWithoutOptionalFeaturesIsServedToo) {
  WriteCompressed("a", "some text");
  Serve({.with_init = false});
  session().StartServing();
  const auto init = kernel().Init(/*flags=*/0);
  ASSERT_TRUE(init);
  EXPECT_EQ(init->flags & FUSE_DO_READDIRPLUS, 0U);
  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "a");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->attr.size, 9U);
}

TEST_F(InitTest, AKernelOfBeforeTheLongInitRequestIsServedToo) {
  WriteCompressed("a", "some text");
  Serve({.with_init = false});
  session().StartServing();
  // Up to 7.35 the request ends after the flags.
  fuse_init_in in = {};
  in.major = 7;
  in.minor = 31;
  in.max_readahead = 65536;
  in.flags = FUSE_ASYNC_READ | FUSE_DO_READDIRPLUS;
  const std::string_view body(reinterpret_cast<const char*>(&in), 16);
  EXPECT_EQ(kernel().Ask(FUSE_INIT, 0, body).error, 0);
  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "a");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->attr.size, 9U);
}

TEST_F(InitTest, ANewerMajorVersionIsToldOursAndMayAskAgain) {
  std::atomic<int> ready{0};
  Serve({.on_ready = [&] { ++ready; }, .with_init = false});
  session().StartServing();
  fuse_init_in in = {};
  in.major = 8;
  const auto reply =
      kernel().Ask(FUSE_INIT, 0, std::string_view(reinterpret_cast<const char*>(&in), sizeof in));
  ASSERT_EQ(reply.error, 0);
  ASSERT_GE(reply.body.size(), 8U);
  EXPECT_EQ(reply.body.substr(0, 4), std::string("\7\0\0\0", 4));
  EXPECT_EQ(ready, 0);
  ASSERT_TRUE(kernel().Init());
  EXPECT_EQ(ready, 1);
}

TEST_F(InitTest, OnReadyIsCalledOnceAtInitAndNeitherBeforeNorAfter) {
  std::atomic<int> ready{0};
  Serve({.on_ready = [&] { ++ready; }, .with_init = false});
  session().StartServing();
  EXPECT_EQ(ErrorOf(kernel().StatFs()), EIO) << "a request before INIT";
  EXPECT_EQ(ready, 0);
  ASSERT_TRUE(kernel().Init());
  EXPECT_EQ(ready, 1);
  EXPECT_EQ(ErrorOf(kernel().Init()), EIO) << "a second INIT";
  EXPECT_EQ(ErrorOf(kernel().StatFs()), 0);
  EXPECT_EQ(ready, 1);
}

TEST_F(InitTest, DestroyIsAnswered) {
  Serve();
  EXPECT_EQ(kernel().Ask(FUSE_DESTROY, 0, {}).error, 0);
}

TEST_F(InitTest, AttachSocketRefusesWhatIsNoDescriptor) {
  Serve();
  EXPECT_FALSE(session().frontend().AttachSocket(-1));
}

TEST_P(SessionTest, HangingUpEndsServe) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession session(source(), ThreadingOfTheTest());
    session.kernel().HangUp();
    static_cast<void>(session.Join());
  }
}

TEST_P(SessionTest, ClosingTheSocketEndsServe) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession session(source(), ThreadingOfTheTest());
    session.kernel().Close();
    EXPECT_FALSE(session.Join()) << "a broken connection is an error";
  }
}

TEST_P(SessionTest, StopEndsServe) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession session(source(), ThreadingOfTheTest());
    session.frontend().Stop();
    EXPECT_TRUE(session.Join());
  }
}

TEST_P(SessionTest, StopBeforeServeEndsItAtOnce) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession::Setup setup = ThreadingOfTheTest();
    setup.with_init = false;
    TestSession session(source(), setup);
    session.frontend().Stop();
    session.StartServing();
    EXPECT_TRUE(session.Join());
  }
}

TEST_P(SessionTest, StopWhileServeBeginsEndsIt) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession::Setup setup = ThreadingOfTheTest();
    setup.with_init = false;
    TestSession session(source(), setup);
    session.StartServing();
    session.frontend().Stop();
    EXPECT_TRUE(session.Join());
  }
}

TEST_P(SessionTest, StopMayBeCalledByManyAndAfterTheEnd) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession session(source(), ThreadingOfTheTest());
    std::vector<std::thread> stoppers;
    for (int k = 0; k < 4; ++k) {
      stoppers.emplace_back([&] { session.frontend().Stop(); });
    }
    for (std::thread& stopper : stoppers) {
      stopper.join();
    }
    EXPECT_TRUE(session.Join());
    session.frontend().Stop();
  }
}

TEST_P(SessionTest, StopAfterTheKernelHungUpIsHarmless) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession session(source(), ThreadingOfTheTest());
    session.kernel().HangUp();
    static_cast<void>(session.Join());
    session.frontend().Stop();
  }
}

TEST_P(SessionTest, ASessionThatIsNeverServedGoesAway) {
  for (int i = 0; i < kRounds; ++i) {
    TestSession::Setup setup = ThreadingOfTheTest();
    setup.with_init = false;
    TestSession session(source(), setup);
    if (i % 2 == 1) {
      session.frontend().Stop();
    }
  }
}

TEST_P(SessionTest, ARequestThatIsWorkedOnWhenStopComesIsAnswered) {
  WriteCompressed("a", "text");
  for (int i = 0; i < kRounds; ++i) {
    CountingOs os;
    std::atomic<bool> entered{false};
    std::atomic<bool> stopped{false};
    TestSession::Setup setup = ThreadingOfTheTest();
    setup.os = &os;
    TestSession session(source(), setup);
    os.SetHook([&](const std::string&) {
      entered = true;
      EXPECT_TRUE(Eventually([&] { return stopped.load(); }));
    });
    const uint64_t lookup = session.kernel().Send(FUSE_LOOKUP, FUSE_ROOT_ID, {"a\0", 2});
    EXPECT_TRUE(Eventually([&] { return entered.load(); }));
    session.frontend().Stop();
    stopped = true;
    EXPECT_EQ(session.kernel().Await(lookup).error, 0);
    EXPECT_TRUE(session.Join());
  }
}

TEST_P(SessionTest, AKernelThatGoesWhileRequestsAreInFlightIsSurvived) {
  for (int i = 0; i < 20; ++i) {
    WriteCompressed("f" + std::to_string(i), SomeText(5000));
  }
  fuse_read_in listing = {};
  listing.size = 4096;
  const std::string_view body(reinterpret_cast<const char*>(&listing), sizeof listing);
  for (int i = 0; i < kRounds; ++i) {
    TestSession session(source(), ThreadingOfTheTest());
    for (int k = 0; k < 40; ++k) {
      session.kernel().Send(FUSE_READDIRPLUS, FUSE_ROOT_ID, body, FakeKernel::Expect::kMaybe);
    }
    session.kernel().Close();
    static_cast<void>(session.Join());
  }
}

}  // namespace
}  // namespace xzfs
