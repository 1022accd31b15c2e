#include "xz/block_name.h"

#include <gtest/gtest.h>

namespace xzfs {
namespace {

TEST(BlockNameTest, SaysWhereABlockIsInThePlainAndInTheStoredFile) {
  EXPECT_EQ(NameOf({.number = 3,
                    .plain_offset = 196608,
                    .plain_size = 65536,
                    .compressed_offset = 50760,
                    .unpadded_size = 100}),
            "Block 3 (plain bytes 196608-262144, file offset 50760)");
}

TEST(BlockNameTest, APlaceMayHaveNoKnownEnd) {
  EXPECT_EQ(NameOfPlace(7, {}, 12), "plain bytes 7-?, file offset 12");
}

}  // namespace
}  // namespace xzfs
