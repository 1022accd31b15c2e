// Lookup counts: what the kernel was told of lives until it forgets as often.
#include <atomic>
#include <filesystem>
#include <limits>
#include <random>
#include <thread>

#include "protocol/counting_os.h"
#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

using ForgetTest = ProtocolTest;

// With one request after the other, an answer proves that the FORGETs before it have happened.
size_t NodesAfterForget(TestSession& session) {
  EXPECT_TRUE(session.kernel().StatFs());
  return session.mount().tree.nodes().size();
}

TEST_F(ForgetTest, ANodeLivesUntilItWasForgottenAsOftenAsLookedUp) {
  WriteCompressed("a", "text");
  ServeOneByOne();
  const uint64_t node = NodeOf("a");
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(NodeOf("a"), node);
  }
  EXPECT_EQ(mount().tree.nodes().size(), 2U);
  kernel().Forget(node, 4);
  EXPECT_EQ(NodesAfterForget(session()), 2U);
  kernel().Forget(node, 5);
  EXPECT_EQ(NodesAfterForget(session()), 2U);
  EXPECT_TRUE(kernel().GetAttr(node));
  kernel().Forget(node, 1);
  EXPECT_EQ(NodesAfterForget(session()), 1U);
  EXPECT_EQ(ErrorOf(kernel().GetAttr(node)), ESTALE);
  EXPECT_NE(NodeOf("a"), node) << "ids are never used twice";
}

TEST_F(ForgetTest, EveryKindOfFileIsForgotten) {
  WriteCompressed("compressed", "text");
  source().Write("plain", "text");
  std::filesystem::create_directory(source().path() / "dir");
  std::filesystem::create_symlink("plain", source().path() / "link");
  ServeOneByOne();
  for (const char* name : {"compressed", "plain", "dir", "link"}) {
    const uint64_t node = NodeOf(name);
    EXPECT_EQ(mount().tree.nodes().size(), 2U);
    kernel().Forget(node, 1);
    EXPECT_EQ(NodesAfterForget(session()), 1U) << name;
  }
}

TEST_F(ForgetTest, ALookupThatFailsCountsNothing) {
  WriteCompressed("a", "text");
  ServeOneByOne();
  const uint64_t node = NodeOf("a");
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, "b")), ENOENT);
  EXPECT_EQ(ErrorOf(kernel().Lookup(node, "b")), ENOTDIR);
  kernel().Forget(node, 1);
  EXPECT_EQ(NodesAfterForget(session()), 1U);
}

TEST_F(ForgetTest, ReadDirPlusCountsEachLineOnceAndTheDotsNot) {
  for (const char* name : {"a", "b", "c"}) {
    WriteCompressed(name, name);
  }
  source().Write("plain", "text");
  std::filesystem::create_directory(source().path() / "dir");
  ServeOneByOne();
  const auto lines = ListFrom(FUSE_ROOT_ID, 0, 4096, /*plus=*/true);
  ASSERT_EQ(lines.size(), 7U);
  EXPECT_EQ(mount().tree.nodes().size(), 6U);
  size_t left = 6;
  for (const auto& line : lines) {
    ASSERT_TRUE(line.entry);
    if (line.name == "." || line.name == "..") {
      EXPECT_EQ(line.entry->nodeid, 0U) << "the kernel would count it";
      continue;
    }
    kernel().Forget(line.entry->nodeid, 1);
    EXPECT_EQ(NodesAfterForget(session()), --left) << line.name;
  }
  EXPECT_EQ(left, 1U);
}

// The line that no longer fits has been looked up already: that count must be taken back.
TEST_F(ForgetTest, ReadDirPlusCountsOnlyTheLinesThatFit) {
  for (int i = 0; i < 40; ++i) {
    WriteCompressed("file" + std::to_string(i), "text");
  }
  ServeOneByOne();
  uint64_t offset = 0;
  size_t counted = 0;
  for (const uint32_t size : {200U, 350U, 512U, 1000U, 24U, 176U, 2000U}) {
    const auto lines = kernel().ReadDirPlus(FUSE_ROOT_ID, offset, size);
    ASSERT_TRUE(lines) << size;
    for (const auto& line : *lines) {
      counted += line.entry->nodeid == 0 ? 0 : 1;
      offset = line.next_offset;
    }
    EXPECT_EQ(mount().tree.nodes().size(), 1 + counted) << "a reply of " << size << " bytes";
  }
  EXPECT_GT(counted, 5U);
}

TEST_F(ForgetTest, ReadDirCountsNothing) {
  WriteCompressed("a", "text");
  source().Write("b", "text");
  ServeOneByOne();
  EXPECT_EQ(ListFrom(FUSE_ROOT_ID, 0, 4096).size(), 4U);
  EXPECT_EQ(mount().tree.nodes().size(), 1U);
}

TEST_F(ForgetTest, ABatchForgetsAllOfItsNodes) {
  std::vector<fuse_forget_one> forgets;
  for (int i = 0; i < 1000; ++i) {
    source().Write("file" + std::to_string(i), "text");
  }
  ServeOneByOne();
  for (int i = 0; i < 1000; ++i) {
    const uint64_t node = NodeOf("file" + std::to_string(i));
    uint64_t count = 1;
    if (i % 10 == 0) {
      NodeOf("file" + std::to_string(i));
      count = i % 20 == 0 ? 2 : 1;
    }
    forgets.push_back({node, count});
  }
  forgets.insert(forgets.begin() + 500, {987654321, 1});
  kernel().BatchForget(forgets);
  EXPECT_EQ(NodesAfterForget(session()), 51U) << "every 20th was looked up once more";
  kernel().BatchForget({});
  EXPECT_EQ(NodesAfterForget(session()), 51U);
}

TEST_F(ForgetTest, UnknownNodesAndTooLargeCountsAreHarmless) {
  WriteCompressed("a", "text");
  WriteCompressed("b", "text");
  ServeOneByOne();
  const uint64_t a = NodeOf("a");
  const uint64_t b = NodeOf("b");
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  for (const uint64_t node : {uint64_t{0}, b + 1, uint64_t{1} << 40, kMost}) {
    kernel().Forget(node, 1);
    kernel().Forget(node, kMost);
  }
  kernel().Forget(a, 0);
  EXPECT_EQ(NodesAfterForget(session()), 3U);
  kernel().Forget(a, kMost);
  EXPECT_EQ(NodesAfterForget(session()), 2U);
  kernel().Forget(a, 1);
  kernel().BatchForget({{a, 1}, {a, kMost}, {b, 0}});
  EXPECT_EQ(NodesAfterForget(session()), 2U);
  EXPECT_TRUE(kernel().GetAttr(b));
}

TEST_F(ForgetTest, TheRootIsNeverForgotten) {
  WriteCompressed("a", "text");
  ServeOneByOne();
  kernel().Forget(FUSE_ROOT_ID, 1);
  kernel().Forget(FUSE_ROOT_ID, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(NodesAfterForget(session()), 1U);
  EXPECT_TRUE(kernel().GetAttr(FUSE_ROOT_ID));
  EXPECT_NE(NodeOf("a"), 0U);
}

// The kernel may forget a directory before the files in it.
TEST_F(ForgetTest, AForgottenDirectoryIsKeptForItsChildren) {
  std::filesystem::create_directories(source().path() / "d/e");
  source().Write("d/e/a.xz", MakeXz("abc", 4096));
  ServeOneByOne();
  const uint64_t d = NodeOf("d");
  const uint64_t e = NodeOf("e", d);
  const uint64_t a = NodeOf("a", e);
  EXPECT_EQ(mount().tree.nodes().size(), 4U);
  kernel().Forget(d, 1);
  kernel().Forget(e, 1);
  EXPECT_EQ(NodesAfterForget(session()), 4U);
  const uint64_t handle = OpenNode(a);
  EXPECT_EQ(kernel().Read(a, handle, 0, 100).value_or("?"), "abc");
  EXPECT_TRUE(kernel().Release(a, handle));
  kernel().Forget(a, 1);
  EXPECT_EQ(NodesAfterForget(session()), 1U);
}

TEST_F(ForgetTest, ANodeThatIsNotKnownIsESTALEForEveryOperation) {
  WriteCompressed("a", "text");
  std::filesystem::create_directory(source().path() / "d");
  ServeOneByOne();
  const uint64_t a = NodeOf("a");
  const uint64_t d = NodeOf("d");
  kernel().Forget(a, 1);
  kernel().Forget(d, 1);
  for (const uint64_t node : {a, d, uint64_t{0}, d + 1, std::numeric_limits<uint64_t>::max()}) {
    EXPECT_EQ(ErrorOf(kernel().Lookup(node, "a")), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().GetAttr(node)), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().ReadLink(node)), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().Open(node)), ESTALE);
    // OPENDIR looks at nothing and never fails; what comes after it does.
    EXPECT_EQ(ErrorOf(kernel().ReadDir(node, 0, 4096)), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().ReadDirPlus(node, 0, 4096)), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().GetXattrSize(node, "user.x")), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().GetXattrSize(node, "user.xzfs.info")), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().GetXattrSize(node, "user.xzfs.stats")), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().ListXattrSize(node)), ESTALE);
  }
  EXPECT_EQ(mount().tree.nodes().size(), 1U);
}

// No kernel does that; a handle must not depend on it.
TEST_F(ForgetTest, AnOpenFileOutlivesItsNode) {
  const std::string text = SomeText(50000);
  WriteCompressed("a", text);
  source().Write("plain", text);
  ServeOneByOne();
  for (const char* name : {"a", "plain"}) {
    const uint64_t node = NodeOf(name);
    const uint64_t handle = OpenNode(node);
    kernel().Forget(node, 1000);
    EXPECT_EQ(NodesAfterForget(session()), 1U);
    const auto got = kernel().Read(node, handle, 100, 1000);
    EXPECT_TRUE(got ? *got == text.substr(100, 1000) : got.error().code == ESTALE);
    EXPECT_TRUE(kernel().Release(node, handle));
  }
}

// Several threads look the same files up and forget them again, as the kernel does under memory
// pressure: whoever was told of a node can use it until it forgets.
TEST_F(ForgetTest, CountsAreRightAfterLookupsAndForgetsRaced) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 250;
  constexpr int kFiles = 6;
  std::filesystem::create_directory(source().path() / "d");
  for (int i = 0; i < kFiles; ++i) {
    source().Write("d/f" + std::to_string(i) + ".xz", MakeXz(std::string(100, 'x'), 4096));
  }
  Serve();
  std::atomic<int> used{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::minstd_rand random(static_cast<unsigned>(t + 1));
      for (int i = 0; i < kRounds; ++i) {
        const auto dir = kernel().Lookup(FUSE_ROOT_ID, "d");
        ASSERT_TRUE(dir);
        const auto file = kernel().Lookup(dir->nodeid, "f" + std::to_string(random() % kFiles));
        ASSERT_TRUE(file);
        EXPECT_EQ(file->attr.size, 100U);
        const auto attr = kernel().GetAttr(file->nodeid);
        EXPECT_EQ(ErrorOf(attr), 0) << "a node that this thread has not forgotten";
        used += attr && attr->attr.size == 100 ? 1 : 0;
        if (random() % 2 == 0) {
          kernel().Forget(dir->nodeid, 1);
          kernel().Forget(file->nodeid, 1);
        } else {
          kernel().BatchForget({{file->nodeid, 1}, {dir->nodeid, 1}});
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(used, kThreads * kRounds);
  EXPECT_TRUE(Eventually([&] { return mount().tree.nodes().size() == 1; }))
      << mount().tree.nodes().size();
}

TEST_F(ForgetTest, CountsAreRightAfterListingsAndForgetsRaced) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 60;
  for (int i = 0; i < 12; ++i) {
    WriteCompressed("f" + std::to_string(i), "text");
  }
  Serve();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        std::vector<fuse_forget_one> forgets;
        for (const auto& line : ListFrom(FUSE_ROOT_ID, 0, 1000, /*plus=*/true)) {
          if (line.entry->nodeid != 0) {
            forgets.push_back({line.entry->nodeid, 1});
          }
        }
        EXPECT_EQ(forgets.size(), 12U);
        kernel().BatchForget(forgets);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_TRUE(Eventually([&] { return mount().tree.nodes().size() == 1; }))
      << mount().tree.nodes().size();
}

// The kernel holds what it asks about; a session must not fall over one that doesn't. Here the node
// is forgotten after the operation has found it.
class ForgetDuringTest : public ProtocolTest {
 protected:
  // Serves d/a. When the stored file is reached for the next time, `node` goes before.
  void SetUp() override {
    ProtocolTest::SetUp();
    std::filesystem::create_directory(source().path() / "d");
    source().Write("d/a.xz", MakeXz("abc", 4096));
    Serve({.os = &os_});
    dir_ = NodeOf("d");
  }
  void TearDown() override {
    EXPECT_TRUE(hit_) << "the operation was over before";
    os_.SetHook(nullptr);
    EXPECT_TRUE(kernel().GetAttr(FUSE_ROOT_ID)) << "the session lives";
    ProtocolTest::TearDown();
  }
  void ForgetOnReach(uint64_t node) {
    os_.SetHook([this, node](const std::string& name) {
      if (name.front() == 'a' && !hit_.exchange(true)) {
        const size_t before = mount().tree.nodes().size();
        kernel().Forget(node, 1);
        EXPECT_TRUE(Eventually([&] { return mount().tree.nodes().size() < before; }));
      }
    });
  }

  CountingOs os_;
  std::atomic<bool> hit_{false};
  uint64_t dir_ = 0;
};

TEST_F(ForgetDuringTest, LookupInADirectoryThatIsForgottenIsSurvived) {
  ForgetOnReach(dir_);
  const auto entry = kernel().Lookup(dir_, "a");
  EXPECT_TRUE(entry || entry.error().code == ESTALE) << ErrorOf(entry);
}

TEST_F(ForgetDuringTest, ReadDirPlusOfADirectoryThatIsForgottenIsSurvived) {
  ForgetOnReach(dir_);
  const auto lines = kernel().ReadDirPlus(dir_, 0, 4096);
  EXPECT_TRUE(lines || lines.error().code == ESTALE) << ErrorOf(lines);
}

TEST_F(ForgetDuringTest, OpenOfAFileThatIsForgottenIsSurvived) {
  const uint64_t node = NodeOf("a", dir_);
  ForgetOnReach(node);
  const auto opened = kernel().Open(node);
  EXPECT_TRUE(opened || opened.error().code == ESTALE) << ErrorOf(opened);
}

TEST_F(ForgetDuringTest, GetAttrOfAFileThatIsForgottenIsSurvived) {
  const uint64_t node = NodeOf("a", dir_);
  ForgetOnReach(node);
  const auto attr = kernel().GetAttr(node);
  EXPECT_TRUE(attr || attr.error().code == ESTALE) << ErrorOf(attr);
}

}  // namespace
}  // namespace xzfs
