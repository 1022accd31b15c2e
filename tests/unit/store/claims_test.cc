#include "store/claims.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "support/forwarding_os.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

// Counts syncs of files and fails the next ones.
class SyncOs : public ForwardingOs {
 public:
  std::atomic<int> syncs{0};
  std::atomic<int> failing{0};

 protected:
  int Before(std::string_view call, const std::string&) override {
    if (call != "Sync") {
      return 0;
    }
    ++syncs;
    if (failing > 0) {
      --failing;
      return -EIO;
    }
    return 0;
  }
};

class ClaimsTest : public testing::Test {
 protected:
  static Claim Some(uint64_t number) {
    return {.kind = number % 2 == 0 ? Claim::Kind::kTwin : Claim::Kind::kAside,
            .dir = "a/b",
            .name = "name" + std::to_string(number),
            .other = "other\xff",
            .made = {number, 2, -3, 4},
            .old = {5, number, 7, 0},
            .old_ctime_ns = -1};
  }
  HeldClaim Add(uint64_t number) {
    auto held = claims_.Add(Some(number));
    EXPECT_TRUE(held) << held.error().message;
    return std::move(*held);
  }
  // The numbers of claims that hold; negative for claims that are done.
  std::vector<int64_t> Read() {
    std::vector<int64_t> numbers;
    const auto read = Claims::Read(Os::Real(), dir_.fd(), "folder");
    EXPECT_TRUE(read);
    for (const auto& [claim, done] : *read) {
      const auto number = static_cast<int64_t>(claim.old.size_bytes);
      EXPECT_EQ(claim, Some(claim.old.size_bytes));
      numbers.push_back(done ? -number : number);
    }
    return numbers;
  }
  std::filesystem::path Path() { return dir_.path() / "claims"; }
  std::string Bytes() {
    std::ifstream file(Path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  SyncOs os_;
  TempDir dir_;
  Claims claims_{os_, dir_.fd(), "folder"};
};

using Numbers = std::vector<int64_t>;

TEST_F(ClaimsTest, OthersReadTheClaims) {
  EXPECT_EQ(Read(), Numbers());
  HeldClaim one = Add(1);
  const HeldClaim two = Add(2);
  EXPECT_EQ(Read(), (Numbers{1, 2}));
  one.Done();
  EXPECT_EQ(Read(), (Numbers{-1, 2}));
}

TEST_F(ClaimsTest, AClaimHoldsAfterItsObjectIsGone) {
  { const HeldClaim two = Add(2); }
  EXPECT_EQ(Read(), Numbers{2});
  FileFacts made;
  made.attributes.st_ino = 2;
  made.attributes.st_size = 2;
  made.attributes.st_mtim.tv_nsec = -3;
  FileFacts old;
  old.attributes.st_ino = 5;
  old.attributes.st_size = 2;
  old.attributes.st_mtim.tv_nsec = 7;
  old.attributes.st_ctim.tv_nsec = -1;
  const auto match = claims_.FindTwins(old, made);
  ASSERT_TRUE(match);
  EXPECT_FALSE(match->at_work);
  EXPECT_TRUE(claims_.FindTwins(made, old)) << "whichever of the two is the new one";
  made.birth_ns = 4;
  EXPECT_TRUE(claims_.FindTwins(old, made));
  made.birth_ns = 5;
  EXPECT_FALSE(claims_.FindTwins(old, made)) << "another file has the inode number";
  made.birth_ns = 4;
  old.attributes.st_ctim.tv_nsec = 0;
  EXPECT_FALSE(claims_.FindTwins(old, made)) << "the old one was changed";
}

TEST_F(ClaimsTest, OneSyncServesAllEarlierClaims) {
  std::vector<HeldClaim> held;
  for (uint64_t number = 0; number < 100; ++number) {
    held.push_back(Add(number));
  }
  EXPECT_EQ(os_.syncs, 0);
  EXPECT_TRUE(held[50].Sync());
  EXPECT_EQ(os_.syncs, 2) << "of the file, and once of its name";
  for (HeldClaim& claim : held) {
    EXPECT_TRUE(claim.Sync());
  }
  EXPECT_EQ(os_.syncs, 2);
  held.push_back(Add(100));
  EXPECT_TRUE(held.back().Sync());
  EXPECT_EQ(os_.syncs, 3);
}

TEST_F(ClaimsTest, ClaimsThatAFailedSyncHasLostAreWrittenAgain) {
  HeldClaim one = Add(1);
  os_.failing = 1;
  EXPECT_FALSE(one.Sync());
  // The kernel has dropped it.
  std::filesystem::resize_file(Path(), 0);
  HeldClaim two = Add(2);
  EXPECT_TRUE(two.Sync());
  EXPECT_TRUE(one.Sync());
  EXPECT_EQ(Read(), (Numbers{1, 2}));
}

TEST_F(ClaimsTest, ATornTailEndsTheReading) {
  HeldClaim one = Add(1);
  const size_t first = Bytes().size();
  HeldClaim two = Add(2);
  const std::string all = Bytes();
  for (size_t size = 0; size < all.size(); ++size) {
    std::filesystem::resize_file(Path(), size);
    EXPECT_EQ(Read(), size < first ? Numbers() : Numbers{1}) << size;
    std::ofstream(Path(), std::ios::binary) << all;
  }
  std::ofstream(Path(), std::ios::binary) << all << std::string(1000, '\0');
  EXPECT_EQ(Read(), (Numbers{1, 2}));
}

TEST_F(ClaimsTest, NoClaimNamesAFileOutsideItsDirectory) {
  for (const std::string& name : {std::string(".."), std::string("."), std::string(),
                                  std::string("a/b"), std::string("a\0b", 3)}) {
    Claim claim = Some(2);
    claim.name = name;
    auto held = claims_.Add(claim);
    ASSERT_TRUE(held);
    claim = Some(2);
    claim.other = name;
    held = claims_.Add(claim);
  }
  EXPECT_EQ(Read(), Numbers());
}

TEST_F(ClaimsTest, TheFileStaysShort) {
  HeldClaim kept = Add(1);
  uintmax_t most = 0;
  for (uint64_t number = 2; number < 3000; ++number) {
    HeldClaim claim = Add(number);
    claim.Done();
    most = std::max(most, std::filesystem::file_size(Path()));
  }
  EXPECT_LT(most, 70'000U);
  EXPECT_EQ(Read().front(), 1);
  kept.Done();
  for (uint64_t number = 2; number < 300; ++number) {
    HeldClaim claim = Add(number);
    claim.Done();
  }
  EXPECT_LT(std::filesystem::file_size(Path()), 20'000U);
}

TEST_F(ClaimsTest, ManyThreadsClaimAtOnce) {
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 8; ++thread) {
    threads.emplace_back([this, thread] {
      for (uint64_t i = 0; i < 50; ++i) {
        HeldClaim claim = Add(thread * 50 + i);
        EXPECT_TRUE(claim.Sync());
        if (i % 2 == 0) {
          claim.Done();
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const Numbers numbers = Read();
  EXPECT_EQ(std::count_if(numbers.begin(), numbers.end(), [](int64_t n) { return n > 0; }), 200);
}

}  // namespace
}  // namespace xzfs
