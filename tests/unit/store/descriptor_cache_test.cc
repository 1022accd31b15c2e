#include "store/descriptor_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

namespace xzfs {
namespace {

class DescriptorCacheTest : public testing::Test {
 protected:
  DescriptorPtr Get(uint64_t id) {
    if (DescriptorPtr kept = cache_.Find(id)) {
      return kept;
    }
    ++opened_;
    return cache_.Add(id, Descriptor(Os::Real(), open("/dev/null", O_RDONLY | O_CLOEXEC)));
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
  const int first = Get(1)->descriptor.get();
  Get(2);
  Get(3);
  EXPECT_TRUE(IsOpen(first));
  Get(4);
  EXPECT_FALSE(IsOpen(first));
  EXPECT_EQ(cache_.size(), 3u);
}

TEST_F(DescriptorCacheTest, ADescriptorInUseIsClosedWhenItsUserIsDone) {
  DescriptorPtr used = Get(1);
  const int fd = used->descriptor.get();
  for (uint64_t id = 2; id < 10; ++id) {
    Get(id);
  }
  EXPECT_TRUE(IsOpen(fd));
  used.reset();
  EXPECT_FALSE(IsOpen(fd));
}

TEST_F(DescriptorCacheTest, DropCloses) {
  const int fd = Get(1)->descriptor.get();
  cache_.Drop(1);
  EXPECT_FALSE(IsOpen(fd));
  EXPECT_EQ(cache_.size(), 0u);
}

TEST_F(DescriptorCacheTest, TheFirstOfTwoAddedIsKept) {
  const DescriptorPtr first = Get(1);
  const DescriptorPtr second =
      cache_.Add(1, Descriptor(Os::Real(), open("/dev/null", O_RDONLY | O_CLOEXEC)));
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace xzfs
