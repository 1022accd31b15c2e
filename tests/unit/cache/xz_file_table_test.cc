#include "cache/xz_file_table.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "cache_test_util.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;

class XzFileTableTest : public testing::Test {
 protected:
  Result<std::shared_ptr<const XzFile>> Get(const Identity& identity, const MemFile& stored) {
    return engine_.files.Get(identity, Format::kXz, stored, [] { return "t.xz"; });
  }
  ReadEngine engine_{{.budget_bytes = 32 * kMiB, .threads = 1, .whole_block_bytes = kMiB}};
};

TEST_F(XzFileTableTest, ReadsAnIndexOnce) {
  const MemFile stored(MakeXz(SomeText(5000), 1000));
  const Identity identity = NewIdentity();
  const auto first = Get(identity, stored);
  ASSERT_TRUE(first);
  const size_t reads = stored.accesses().size();
  const auto second = Get(identity, stored);
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(stored.accesses().size(), reads);
}

TEST_F(XzFileTableTest, AnotherVersionIsAnotherFile) {
  const MemFile stored(MakeXz(SomeText(5000), 1000));
  Identity identity = NewIdentity();
  const auto first = Get(identity, stored);
  ++identity.ctime_ns;
  const auto second = Get(identity, stored);
  ASSERT_TRUE(first && second);
  EXPECT_NE((*first)->id(), (*second)->id());
}

TEST_F(XzFileTableTest, KeepsAtMostAnEighthOfTheBudget) {
  const MemFile stored(MakeXz(SomeText(200000), 100));
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(Get(NewIdentity(), stored));
  }
  EXPECT_LE(engine_.budget.used(), engine_.budget.total() / 8);
  EXPECT_GT(engine_.budget.used(), engine_.budget.total() / 16);
}

TEST_F(XzFileTableTest, AnErrorIsNotKept) {
  const Identity identity = NewIdentity();
  const MemFile broken("not an xz file at all, but long enough");
  const auto failed = Get(identity, broken);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, EIO);
  const MemFile good(MakeXz(SomeText(5000), 1000));
  EXPECT_TRUE(Get(identity, good));
}

}  // namespace
}  // namespace xzfs
