#include "xz/decoder_arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "support/mem_file.h"
#include "support/xz_builder.h"
#include "xz/block_decoder.h"

namespace xzfs {
namespace {

TEST(DecoderArenaTest, GivesAlignedPiecesThatDoNotOverlap) {
  DecoderArena arena;
  ASSERT_TRUE(arena.Prepare(1000));
  auto* const a = static_cast<char*>(DecoderArena::Allocate(&arena, 3, 100));
  auto* const b = static_cast<char*>(DecoderArena::Allocate(&arena, 1, 700));
  ASSERT_NE(a, nullptr);
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 64, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b) % 64, 0u);
  EXPECT_GE(b, a + 300);
  std::memset(a, 1, 300);
  std::memset(b, 2, 700);
  EXPECT_EQ(a[299], 1);
  DecoderArena::Free(&arena, a);
  DecoderArena::Free(&arena, b);
}

TEST(DecoderArenaTest, RefusesMoreThanWasPrepared) {
  DecoderArena arena;
  EXPECT_EQ(DecoderArena::Allocate(&arena, 1, 1), nullptr);
  ASSERT_TRUE(arena.Prepare(1000));
  EXPECT_EQ(DecoderArena::Allocate(&arena, 1, arena.capacity() + 1), nullptr);
  EXPECT_EQ(DecoderArena::Allocate(&arena, SIZE_MAX / 2, 3), nullptr);
  EXPECT_EQ(DecoderArena::Allocate(&arena, SIZE_MAX, 1), nullptr);
  EXPECT_FALSE(arena.Prepare(SIZE_MAX - 1));
}

TEST(DecoderArenaTest, IsEmptyAgainWhenEverythingWasFreed) {
  DecoderArena arena;
  ASSERT_TRUE(arena.Prepare(1000));
  void* const first = DecoderArena::Allocate(&arena, 1, arena.capacity());
  ASSERT_NE(first, nullptr);
  DecoderArena::Free(&arena, first);
  DecoderArena::Free(&arena, nullptr);
  EXPECT_EQ(DecoderArena::Allocate(&arena, 1, arena.capacity()), first);
  DecoderArena::Free(&arena, first);
}

TEST(DecoderArenaTest, ReportsItsUseAndDropsOnlyTheLargestPiece) {
  DecoderArena arena;
  ASSERT_TRUE(arena.Prepare(100000));
  auto* const before = static_cast<char*>(DecoderArena::Allocate(&arena, 1, 100));
  auto* const large = static_cast<char*>(DecoderArena::Allocate(&arena, 1, 64000));
  auto* const after = static_cast<char*>(DecoderArena::Allocate(&arena, 1, 5000));
  EXPECT_EQ(reinterpret_cast<char*>(arena.largest().data()), large);
  EXPECT_EQ(arena.largest().size(), 64000u);
  EXPECT_EQ(reinterpret_cast<char*>(arena.used().data()), before);
  EXPECT_GE(arena.used().size(), 69100u);
  std::memset(arena.used().data(), 7, arena.used().size());
  arena.DropLargest();
  EXPECT_EQ(before[99], 7);
  EXPECT_EQ(large[32000], 0);
  EXPECT_EQ(after[0], 7);
  EXPECT_EQ(after[4999], 7);
  for (char* const piece : {before, large, after}) {
    DecoderArena::Free(&arena, piece);
  }
  EXPECT_TRUE(arena.used().empty());
  EXPECT_TRUE(arena.largest().empty());
}

TEST(DecoderArenaTest, OneArenaServesManyDecodersAlsoAfterOneThatFailed) {
  std::unique_ptr<DecoderArena> arena;
  size_t capacity = 0;
  for (const size_t size : {size_t{300000}, size_t{5000}, size_t{300000}}) {
    const std::string plain = SomeText(size);
    std::string stored = MakeXz(plain, size);
    if (size == 5000) {
      stored[stored.size() / 2] ^= 0x40;
    }
    const MemFile file(stored);
    const auto index = BlockIndex::Read(file, Format::kXz, {});
    ASSERT_TRUE(index);
    auto decoder = BlockDecoder::Open(file, *index, index->Block(0), 128 << 20, std::move(arena));
    ASSERT_TRUE(decoder) << decoder.error().message;
    std::string out(size, '\0');
    EXPECT_EQ((*decoder)->Decode(file, std::as_writable_bytes(std::span(out))).has_value(),
              size != 5000);
    EXPECT_EQ(out == plain, size != 5000);
    arena = (*decoder)->TakeArena();
    ASSERT_NE(arena, nullptr);
    EXPECT_GE(arena->capacity(), capacity);
    capacity = arena->capacity();
  }
}

}  // namespace
}  // namespace xzfs
