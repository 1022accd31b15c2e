// Which requests show that the mount is in use: the option idle.
#include <string>
#include <string_view>

#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

class IdleTest : public ProtocolTest {
 protected:
  std::chrono::steady_clock::time_point Last() { return session().frontend().last_request(); }

  // Makes the request and expects that it counts.
  template <class Request>
  void ExpectUse(const char* what, Request request) {
    const auto before = Last();
    request();
    EXPECT_GT(Last(), before) << what;
  }
};

TEST_F(IdleTest, LooksAndReadsAreUse) {
  WriteCompressed("a", "text");
  ServeOneByOne();
  const uint64_t node = NodeOf("a");
  ExpectUse("lookup", [&] { EXPECT_TRUE(kernel().Lookup(FUSE_ROOT_ID, "a")); });
  ExpectUse("a lookup in vain", [&] { EXPECT_FALSE(kernel().Lookup(FUSE_ROOT_ID, "b")); });
  ExpectUse("stat", [&] { EXPECT_TRUE(kernel().GetAttr(node)); });
  ExpectUse("statfs, as of df", [&] { EXPECT_TRUE(kernel().StatFs()); });
  ExpectUse("an attribute, as xzfsctl stats asks for it",
            [&] { EXPECT_TRUE(kernel().GetXattrSize(FUSE_ROOT_ID, "user.xzfs.info")); });
  ExpectUse("the names of attributes", [&] { EXPECT_TRUE(kernel().ListXattrSize(FUSE_ROOT_ID)); });
  ExpectUse("a listing", [&] { EXPECT_FALSE(ListFrom(FUSE_ROOT_ID, 0, 4096).empty()); });
  uint64_t handle = 0;
  ExpectUse("open", [&] { handle = OpenNode(node); });
  ExpectUse("read", [&] { EXPECT_TRUE(kernel().Read(node, handle, 0, 4096)); });
  ExpectUse("close", [&] { EXPECT_TRUE(kernel().Release(node, handle)); });
}

TEST_F(IdleTest, ChangesAreUse) {
  source().Write("a", "text");
  ServeOneByOne();
  NodeOf("a");
  fuse_mkdir_in folder = {};
  folder.mode = 0755;
  const std::string_view head(reinterpret_cast<const char*>(&folder), sizeof folder);
  ExpectUse("mkdir", [&] {
    EXPECT_EQ(kernel().Ask(FUSE_MKDIR, FUSE_ROOT_ID, std::string(head) + "d" + '\0').error, 0);
  });
  ExpectUse("unlink", [&] {
    EXPECT_EQ(kernel().Ask(FUSE_UNLINK, FUSE_ROOT_ID, std::string("a") + '\0').error, 0);
  });
}

TEST_F(IdleTest, ForgettingIsNoUse) {
  WriteCompressed("a", "text");
  WriteCompressed("b", "text");
  Serve();
  const uint64_t a = NodeOf("a");
  const uint64_t b = NodeOf("b");
  const auto before = Last();
  kernel().Forget(a, 1);
  kernel().BatchForget({{b, 1}});
  // The kernel needs memory; nobody uses the mount.
  ASSERT_TRUE(Eventually([this] { return mount().tree.nodes().size() == 1; }));
  EXPECT_EQ(Last(), before);
}

}  // namespace
}  // namespace xzfs
