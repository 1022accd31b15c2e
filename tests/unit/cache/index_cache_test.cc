#include "cache/index_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "cache_test_util.h"

namespace xzfs {
namespace {

constexpr size_t kMiB = 1024 * 1024;

class IndexCacheTest : public testing::Test {
 protected:
  Result<LoadedIndexPtr> Get(const Identity& identity, const MemFile& stored, uint64_t id = 0) {
    return engine_.indexes.Get(identity, Format::kXz, id, stored, [] { return "t.xz"; });
  }
  ReadEngine engine_{{.budget_bytes = 32 * kMiB, .threads = 1, .whole_block_bytes = kMiB}};
};

TEST_F(IndexCacheTest, ReadsAnIndexOnce) {
  const MemFile stored(MakeXz(SomeText(5000), 1000));
  const Identity identity = NewIdentity();
  const auto first = Get(identity, stored);
  ASSERT_TRUE(first);
  const size_t reads = stored.accesses().size();
  const auto second = Get(identity, stored);
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(stored.accesses().size(), reads);
}

TEST_F(IndexCacheTest, AnotherVersionIsAnotherFile) {
  const MemFile stored(MakeXz(SomeText(5000), 1000));
  Identity identity = NewIdentity();
  const auto first = Get(identity, stored);
  ++identity.ctime_ns;
  const auto second = Get(identity, stored);
  ASSERT_TRUE(first && second);
  EXPECT_NE((*first)->id(), (*second)->id());
}

TEST_F(IndexCacheTest, ADroppedVersionTakesNoMemory) {
  const MemFile stored(MakeXz(SomeText(5000), 1000));
  const size_t before = engine_.budget.used();
  const Identity identity = NewIdentity();
  ASSERT_TRUE(Get(identity, stored));
  EXPECT_GT(engine_.budget.used(), before);
  engine_.indexes.Drop(NewIdentity(), Format::kXz);
  engine_.indexes.Drop(identity, Format::kXz);
  EXPECT_EQ(engine_.budget.used(), before);
}

TEST_F(IndexCacheTest, KeepsAtMostAnEighthOfTheBudget) {
  const MemFile stored(MakeXz(SomeText(200000), 100));
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(Get(NewIdentity(), stored));
  }
  EXPECT_LE(engine_.budget.used(), engine_.budget.total() / 8);
  EXPECT_GT(engine_.budget.used(), engine_.budget.total() / 16);
}

TEST_F(IndexCacheTest, AFileThatWasDroppedKeepsItsIdWhenItIsReadAgain) {
  const MemFile stored(MakeXz(SomeText(200000), 100));
  const Identity identity = NewIdentity();
  const uint64_t id = (*Get(identity, stored))->id();
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(Get(NewIdentity(), stored));
  }
  const size_t reads = stored.accesses().size();
  const auto again = Get(identity, stored, id);
  ASSERT_TRUE(again);
  EXPECT_GT(stored.accesses().size(), reads) << "it had not been dropped";
  EXPECT_EQ((*again)->id(), id);
}

// Two threads that looked at a version at the same time may have given it two ids; one was kept.
TEST_F(IndexCacheTest, AVersionIsFoundUnderTheIdThatTheCallerKnows) {
  const MemFile stored(MakeXz(SomeText(200000), 100));
  const Identity identity = NewIdentity();
  const auto first = Get(identity, stored);
  ASSERT_TRUE(first);
  const size_t reads = stored.accesses().size();
  const size_t charged = engine_.budget.used();
  const uint64_t other_id = engine_.indexes.NewId();
  const auto other = Get(identity, stored, other_id);
  ASSERT_TRUE(other);
  EXPECT_EQ((*other)->id(), other_id);
  EXPECT_EQ(&(*other)->index(), &(*first)->index()) << "it is in memory once";
  EXPECT_EQ((*Get(identity, stored))->id(), (*first)->id());
  EXPECT_EQ(stored.accesses().size(), reads);
  EXPECT_EQ(engine_.budget.used(), charged);
}

TEST_F(IndexCacheTest, ManyReadersOfOneVersionReadItsIndexOnce) {
  const MemFile stored(MakeXz(SomeText(200000), 100));
  const MemFile once(stored.content());
  ASSERT_TRUE(Get(NewIdentity(), once));
  const Identity identity = NewIdentity();
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] { failed += Get(identity, stored) ? 0 : 1; });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(stored.accesses().size(), once.accesses().size());
}

TEST_F(IndexCacheTest, LookingAtAFileKeepsItsIndexOnlyIfItIsExpensive) {
  const auto look = [&](const Identity& identity, Format format, const MemFile& stored) {
    return engine_.indexes.Look(identity, format, stored, [] { return "t.xz"; });
  };
  const MemFile cheap(MakeXz(SomeText(5000), 1000));
  const Identity cheap_identity = NewIdentity();
  ASSERT_TRUE(look(cheap_identity, Format::kXz, cheap));
  EXPECT_EQ(engine_.budget.used(), 0U);
  const size_t reads = cheap.accesses().size();
  ASSERT_TRUE(Get(cheap_identity, cheap));
  EXPECT_GT(cheap.accesses().size(), reads);

  const MemFile large(MakeXz(SomeText(200000), 100));
  const MemFile legacy(MakeLzmaAlone(SomeText(5000), true));
  for (const auto& [stored, format] :
       {std::pair{&large, Format::kXz}, std::pair{&legacy, Format::kLzmaAlone}}) {
    const Identity identity = NewIdentity();
    const auto looked = look(identity, format, *stored);
    ASSERT_TRUE(looked);
    EXPECT_EQ(*engine_.indexes.Get(identity, format, (*looked)->id(), *stored, [] { return "t"; }),
              *looked);
  }
}

TEST_F(IndexCacheTest, AnErrorIsNotKept) {
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
