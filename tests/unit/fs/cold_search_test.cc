#include "fs/cold_search.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "base/fail.h"
#include "base/os.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

TEST(ColdSearchTest, ADirectoryComesBeforeItsEntriesAndTheseBeforeItsNextSibling) {
  // '.' and ' ' sort before '/', so it would be wrong to compare only bytes.
  const std::vector<std::string> order = {"",    "a",      "a/b",   "a/b/c", "a/b c",
                                          "a b", "a b/c",  "a.b",   "a.b/z", "ab",
                                          "b",   "b/\x01", "b/\xFF"};
  for (size_t i = 0; i < order.size(); ++i) {
    for (size_t j = 0; j < order.size(); ++j) {
      EXPECT_EQ(IsVisitedBefore(order[i], order[j]), i < j) << order[i] << " " << order[j];
    }
  }
}

TEST(ColdSearchTest, OnAFullDiskTheSearchTriesOneFileAndCanBeStoppedAtOnce) {
  const TempDir source;
  for (const char* name : {"a", "b", "c"}) {
    source.Write(name, "text");
  }
  std::atomic<int> tried = 0;
  UnshrinkableFiles unshrinkable;
  ColdSearch search(
      Os::Real(), source.fd(), /*cold_after_s=*/0, unshrinkable,
      {.stays_plain = [](const std::string&, const struct stat&) { return false; },
       .would_not_shrink = [](const std::string&, const struct stat&) { return false; },
       .least_saving = [] { return 0.01; },
       .compress = [&](const std::string&, const struct stat&) -> Status {
         ++tried;
         return Fail(ENOSPC, "no room");
       },
       .cancel = [] {},
       .load = [] { return std::string(); },
       .keep = [](const std::string&) { return Status(); }});
  search.Start();
  while (search.figures().walking || tried == 0) {
    std::this_thread::yield();
  }
  search.Stop();
  EXPECT_EQ(tried, 1);
  EXPECT_EQ(search.figures().failed, 1U);
}

}  // namespace
}  // namespace xzfs
