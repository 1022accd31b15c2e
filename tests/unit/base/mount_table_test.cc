#include "base/mount_table.h"

#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include "base/shared_filesystem.h"
#include "base/spelling.h"
#include "support/temp_dir.h"

namespace xzfs {
namespace {

TEST(MountTable, HasTheMountsOfTheKernelInTheirOrder) {
  const TempDir folder;
  folder.Write("mountinfo",
               "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
               "130 24 0:52 / /srv/with\\040space rw,nosuid - fuse.xzfs /a\\134b\\011c\\043d "
               "rw,user_id=1000,group_id=1000\n"
               "131 24 0:53 / /srv/two shared:7 master:3 - tmpfs none rw\n");
  const std::vector<MountEntry> table = ReadMountTable(folder / "mountinfo");
  ASSERT_EQ(table.size(), 3U);
  EXPECT_EQ(table[0].mountpoint, "/");
  EXPECT_EQ(table[0].type, "ext4");
  EXPECT_FALSE(table[0].is_xzfs());
  EXPECT_EQ(table[1].id, 130U);
  EXPECT_EQ(table[1].device, makedev(0, 52));
  EXPECT_EQ(table[1].mountpoint, "/srv/with space");
  EXPECT_EQ(table[1].source, "/a\\b\tc#d");
  EXPECT_EQ(table[1].user, 1000U);
  EXPECT_TRUE(table[1].is_xzfs());
  EXPECT_EQ(table[2].mountpoint, "/srv/two");
}

TEST(MountTable, IsEmptyIfItCantBeRead) {
  const TempDir folder;
  EXPECT_TRUE(ReadMountTable(folder / "none").empty());
}

TEST(MountTable, OfThisProcessHasARoot) {
  bool has_root = false;
  for (const MountEntry& entry : ReadMountTable()) {
    has_root = has_root || (entry.mountpoint == "/" && entry.id != 0);
  }
  EXPECT_TRUE(has_root);
}

TEST(SharedFilesystem, NamesFileSystemsToWhichOthersMayWriteUnseen) {
  EXPECT_EQ(SharedFilesystem(0x65735546), "FUSE");
  EXPECT_EQ(SharedFilesystem(0x6969), "NFS");
  // CIFS: f_type is signed.
  EXPECT_EQ(SharedFilesystem(static_cast<long>(static_cast<int>(0xFF534D42))), "CIFS");
  EXPECT_EQ(SharedFilesystem(0xFF534D42), "CIFS");
  for (const long local : {0xEF53L, 0x58465342L, 0x9123683EL, 0x01021994L, 0x794C7630L}) {
    EXPECT_EQ(SharedFilesystem(local), "") << "ext4, XFS, btrfs, tmpfs, overlayfs: " << local;
  }
}

TEST(NearestWord, GuessesTheWordBehindATypingError) {
  EXPECT_EQ(NearestWord("umout", {"umount", "unpack", "sync"}), "umount");
  EXPECT_EQ(NearestWord("pakc", {"pack", "unpack"}), "pack");
  EXPECT_EQ(NearestWord("frobnicate", {"umount", "unpack", "sync"}), "");
  EXPECT_EQ(NearestWord("x", {}), "");
}

}  // namespace
}  // namespace xzfs
