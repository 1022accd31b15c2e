#include "fs/descriptor_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace xzfs {
namespace {

TEST(DescriptorSharesTest, NoLimitIsExceededAndEachHasSome) {
  for (const uint64_t limit : {256U, 300U, 512U, 1024U, 4096U, 20'000U, 524'288U}) {
    for (const unsigned threads : {2U, 8U, 128U}) {
      const DescriptorShares shares = DescriptorShares::Of(limit, threads);
      // 64 requests, and commits.
      const uint64_t others = std::min<uint64_t>(limit / 4, 256 + uint64_t{8} * threads);
      EXPECT_LE(shares.cached + shares.overlays + shares.held, limit - others) << limit;
      EXPECT_GE(shares.cached, 16U);
      EXPECT_GE(shares.overlays, 16U);
      EXPECT_GE(shares.held, 16U);
    }
  }
  EXPECT_GE(DescriptorShares::Of(1024, 4).held, 256U);
  EXPECT_GE(DescriptorShares::Of(20'000, 4).held, 17'000U)
      << "the rest is for files that are written to";
}

TEST(DescriptorQuotaTest, MoreThanTheQuotaIsRefusedAndFreedOnesCountAgain) {
  DescriptorQuota quota(3);
  auto two = quota.Hold(2);
  ASSERT_TRUE(two);
  EXPECT_EQ(quota.Hold(2).error().code, EMFILE);
  EXPECT_EQ(quota.used(), 2U);
  auto one = quota.Hold(1);
  ASSERT_TRUE(one);
  *two = std::move(*one);
  EXPECT_EQ(quota.used(), 1U);
  *two = {};
  EXPECT_EQ(quota.used(), 0U);
}

}  // namespace
}  // namespace xzfs
