#include "store/descriptor_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

namespace xzfs {
namespace {

class DescriptorCacheTest : public testing::Test {
 protected:
  Result<DescriptorPtr> Get(uint64_t id) {
    return cache_.Get(id, [&]() -> Result<Descriptor> {
      ++opened_;
      return Descriptor(Os::Real(), open("/dev/null", O_RDONLY | O_CLOEXEC));
    });
  }
  static bool IsOpen(int fd) { return fcntl(fd, F_GETFD) != -1; }

  DescriptorCache cache_{3};
  int opened_ = 0;
};

TEST_F(DescriptorCacheTest, OpensOnceForRepeatedUse) {
  ASSERT_TRUE(Get(1));
  ASSERT_TRUE(Get(1));
  EXPECT_EQ(opened_, 1);
}

TEST_F(DescriptorCacheTest, ClosesTheLeastRecentlyUsedBeyondItsCapacity) {
  const int first = (*Get(1))->descriptor.get();
  Get(2);
  Get(3);
  EXPECT_TRUE(IsOpen(first));
  Get(4);
  EXPECT_FALSE(IsOpen(first));
  EXPECT_EQ(cache_.size(), 3u);
}

TEST_F(DescriptorCacheTest, OneInUseIsClosedOnlyWhenItsUserIsDone) {
  DescriptorPtr used = *Get(1);
  const int fd = used->descriptor.get();
  for (uint64_t id = 2; id < 10; ++id) {
    Get(id);
  }
  EXPECT_TRUE(IsOpen(fd));
  used.reset();
  EXPECT_FALSE(IsOpen(fd));
}

TEST_F(DescriptorCacheTest, DropCloses) {
  const int fd = (*Get(1))->descriptor.get();
  cache_.Drop(1);
  EXPECT_FALSE(IsOpen(fd));
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(DescriptorCacheTest, AFailureToOpenIsNotKept) {
  const auto failed =
      cache_.Get(1, []() -> Result<Descriptor> { return Fail(EMFILE, "too many open files"); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EMFILE);
  EXPECT_TRUE(Get(1));
}

}  // namespace
}  // namespace xzfs
