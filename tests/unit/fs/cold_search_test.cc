#include "fs/cold_search.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace xzfs {
namespace {

TEST(ColdSearchTest, ADirectoryComesBeforeWhatIsInItAndThatBeforeItsNextSibling) {
  // '.' and ' ' sort before '/', so comparing bytes alone would be wrong.
  const std::vector<std::string> order = {"",    "a",      "a/b",   "a/b/c", "a/b c",
                                          "a b", "a b/c",  "a.b",   "a.b/z", "ab",
                                          "b",   "b/\x01", "b/\xFF"};
  for (size_t i = 0; i < order.size(); ++i) {
    for (size_t j = 0; j < order.size(); ++j) {
      EXPECT_EQ(IsVisitedBefore(order[i], order[j]), i < j) << order[i] << " " << order[j];
    }
  }
}

}  // namespace
}  // namespace xzfs
