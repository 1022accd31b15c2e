// LOOKUP, GETATTR, READLINK, STATFS.
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <filesystem>

#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

// The attributes of a reply are the stored file's, except the size.
void ExpectStoredAttributes(const fuse_attr& shown, const struct stat& stored) {
  EXPECT_EQ(shown.ino, stored.st_ino);
  EXPECT_EQ(shown.mode, stored.st_mode);
  EXPECT_EQ(shown.nlink, stored.st_nlink);
  EXPECT_EQ(shown.uid, stored.st_uid);
  EXPECT_EQ(shown.gid, stored.st_gid);
  EXPECT_EQ(shown.rdev, stored.st_rdev);
  EXPECT_EQ(shown.blocks, static_cast<uint64_t>(stored.st_blocks)) << "what the disk pays";
  EXPECT_EQ(shown.mtime, static_cast<uint64_t>(stored.st_mtim.tv_sec));
  EXPECT_EQ(shown.mtimensec, static_cast<uint32_t>(stored.st_mtim.tv_nsec));
  EXPECT_EQ(shown.ctime, static_cast<uint64_t>(stored.st_ctim.tv_sec));
  EXPECT_EQ(shown.ctimensec, static_cast<uint32_t>(stored.st_ctim.tv_nsec));
}

using LookupTest = ProtocolTest;

TEST_F(LookupTest, ACompressedFileHasThePlainSizeAndTheStoredAttributesInEveryReply) {
  WriteCompressed("a.log", SomeText(123457));
  std::filesystem::permissions(source().path() / "a.log.xz", std::filesystem::perms(0640));
  Serve();
  const struct stat stored = StatStored("a.log.xz");
  ASSERT_LT(stored.st_size, 123457);

  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "a.log");
  ASSERT_TRUE(entry);
  EXPECT_NE(entry->nodeid, 0U);
  EXPECT_NE(entry->nodeid, uint64_t{FUSE_ROOT_ID});
  EXPECT_EQ(entry->attr.size, 123457U);
  ExpectStoredAttributes(entry->attr, stored);

  const auto attr = kernel().GetAttr(entry->nodeid);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->attr.size, 123457U);
  ExpectStoredAttributes(attr->attr, stored);

  int found = 0;
  for (const auto& line : ListFrom(FUSE_ROOT_ID, 0, 4096, /*plus=*/true)) {
    if (line.name == "a.log") {
      ++found;
      ASSERT_TRUE(line.entry);
      EXPECT_EQ(line.entry->nodeid, entry->nodeid);
      EXPECT_EQ(line.entry->attr.size, 123457U);
      ExpectStoredAttributes(line.entry->attr, stored);
      EXPECT_EQ(line.inode, stored.st_ino);
    }
  }
  EXPECT_EQ(found, 1);
}

TEST_F(LookupTest, RepliesLiveForOneSecondInTheKernel) {
  WriteCompressed("a", "text");
  Serve();
  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "a");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->entry_valid, 1U);
  EXPECT_EQ(entry->attr_valid, 1U);
  EXPECT_EQ(entry->generation, 0U);
  const auto attr = kernel().GetAttr(entry->nodeid);
  ASSERT_TRUE(attr);
  EXPECT_EQ(attr->attr_valid, 1U);
}

TEST_F(LookupTest, APlainFileIsShownAsItIs) {
  source().Write("plain.txt", "hello");
  source().Write("fake.xz", "not compressed");
  Serve();
  for (const std::string name : {"plain.txt", "fake.xz"}) {
    const auto entry = kernel().Lookup(FUSE_ROOT_ID, name);
    ASSERT_TRUE(entry) << name;
    const struct stat stored = StatStored(name);
    EXPECT_EQ(entry->attr.size, static_cast<uint64_t>(stored.st_size));
    ExpectStoredAttributes(entry->attr, stored);
  }
}

TEST_F(LookupTest, ADirectoryIsFoundAndFilesInIt) {
  std::filesystem::create_directory(source().path() / "d.xz");
  source().Write("d.xz/a.xz", MakeXz("abc", 4096));
  Serve();
  const auto dir = kernel().Lookup(FUSE_ROOT_ID, "d.xz");
  ASSERT_TRUE(dir);
  EXPECT_TRUE(S_ISDIR(dir->attr.mode));
  ExpectStoredAttributes(dir->attr, StatStored("d.xz"));
  const auto file = kernel().Lookup(dir->nodeid, "a");
  ASSERT_TRUE(file);
  EXPECT_EQ(file->attr.size, 3U);
  EXPECT_EQ(ErrorOf(kernel().Lookup(file->nodeid, "x")), ENOTDIR);
}

TEST_F(LookupTest, ASymlinkIsNotFollowedAndOneToACompressedFileLosesItsSuffix) {
  source().Write("target.xz", MakeXz("abc", 4096));
  std::filesystem::create_symlink("elsewhere", source().path() / "plain");
  std::filesystem::create_symlink("target.xz", source().path() / "link.xz");
  Serve();
  const auto plain = kernel().Lookup(FUSE_ROOT_ID, "plain");
  ASSERT_TRUE(plain);
  EXPECT_TRUE(S_ISLNK(plain->attr.mode));
  EXPECT_EQ(plain->attr.size, 9U);
  EXPECT_EQ(kernel().ReadLink(plain->nodeid).value_or("?"), "elsewhere");

  const auto stripped = kernel().Lookup(FUSE_ROOT_ID, "link");
  ASSERT_TRUE(stripped);
  EXPECT_TRUE(S_ISLNK(stripped->attr.mode));
  EXPECT_EQ(stripped->attr.size, 6U) << "the length of what READLINK gives";
  EXPECT_EQ(kernel().ReadLink(stripped->nodeid).value_or("?"), "target");
  EXPECT_EQ(kernel().GetAttr(stripped->nodeid)->attr.size, 6U);
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, "link.xz")), ENOENT);
}

TEST_F(LookupTest, WhatIsNotThereIsENOENT) {
  WriteCompressed("a", "text");
  ServeOneByOne();
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, "b")), ENOENT);
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, "b.xz")), ENOENT);
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, "a.xz")), ENOENT) << "a stored name";
  EXPECT_EQ(mount().tree.nodes().size(), 1U);
}

TEST_F(LookupTest, WhatIsNoNameIsRefused) {
  std::filesystem::create_directory(source().path() / "d");
  source().Write("d/a", "text");
  source().Write("a", "text");
  ServeOneByOne();
  const uint64_t dir = NodeOf("d");
  for (const char* name : {"", ".", "..", "/", "d/a", "../a", "/etc", "a/", "d/../a"}) {
    for (const uint64_t parent : {uint64_t{FUSE_ROOT_ID}, dir}) {
      EXPECT_EQ(ErrorOf(kernel().Lookup(parent, name)), EINVAL) << "'" << name << "'";
    }
  }
  EXPECT_EQ(mount().tree.nodes().size(), 2U);
}

TEST_F(LookupTest, ANameOf255BytesThatIsThereIsLookedUpAndALongerOneIsTooLong) {
  source().Write(std::string(255, 'h'), "text");
  source().Write(std::string(252, 'c') + ".xz", MakeXz("abc", 4096));
  Serve();
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, std::string(255, 'h'))), 0);
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, std::string(252, 'c'))), 0);
  for (const size_t size : {253U, 255U}) {  // there is no such name, and none can be made
    EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, std::string(size, 'c'))), ENAMETOOLONG);
  }
  for (const size_t size : {256U, 1000U, 4096U, 100000U}) {
    EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, std::string(size, 'h'))), ENAMETOOLONG);
  }
}

TEST_F(LookupTest, NamesAreBytes) {
  const std::string name = "\xff\x01 \n\xc3";
  WriteCompressed(name, "abc");
  Serve();
  const auto entry = kernel().Lookup(FUSE_ROOT_ID, name);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->attr.size, 3U);
}

TEST_F(LookupTest, OurOwnFolderIsNotReachableAtTheRootAndAnOrdinaryNameBelow) {
  std::filesystem::create_directories(source().path() / ".xzfs");
  source().Write(".xzfs/a", "text");
  std::filesystem::create_directories(source().path() / "d/.xzfs");
  Serve();
  EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, ".xzfs")), ENOENT);
  EXPECT_EQ(ErrorOf(kernel().Lookup(NodeOf("d"), ".xzfs")), 0);
}

TEST_F(LookupTest, AFileWhoseIndexIsDamagedShowsItsStoredSizeAndDoesNotOpen) {
  std::string bytes = MakeXz(SomeText(50000), 4096);
  bytes.resize(bytes.size() - 8);
  source().Write("a.xz", bytes);
  Serve();
  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "a");
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->attr.size, bytes.size()) << "0 would pass for an empty file";
  EXPECT_EQ(ErrorOf(kernel().Open(entry->nodeid)), EIO);
}

TEST_F(LookupTest, TheSameFileIsTheSameNodeAndAReplacedOneIsANewNode) {
  WriteCompressed("a", "old");
  source().Write("plain", "old");
  Serve();
  const uint64_t compressed = NodeOf("a");
  const uint64_t plain = NodeOf("plain");
  EXPECT_EQ(NodeOf("a"), compressed);
  ReplaceStored("a.xz", MakeXz("newer", 4096));
  ReplaceStored("plain", "newer");
  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "a");
  ASSERT_TRUE(entry);
  EXPECT_NE(entry->nodeid, compressed);
  EXPECT_EQ(entry->attr.size, 5U);
  EXPECT_NE(NodeOf("plain"), plain);
  EXPECT_EQ(ErrorOf(kernel().GetAttr(compressed)), ESTALE);
  EXPECT_EQ(ErrorOf(kernel().GetAttr(plain)), ESTALE);
}

TEST_F(LookupTest, TheRootHasTheSourcesAttributes) {
  Serve();
  const auto attr = kernel().GetAttr(FUSE_ROOT_ID);
  ASSERT_TRUE(attr);
  ExpectStoredAttributes(attr->attr, StatStored("."));
}

TEST_F(LookupTest, StatFsIsTheSourcesWithRoomForTheSuffixInNames) {
  Serve();
  struct statvfs stored = {};
  ASSERT_EQ(statvfs(source().path().c_str(), &stored), 0);
  const auto shown = kernel().StatFs();
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->bsize, stored.f_bsize);
  EXPECT_EQ(shown->blocks, stored.f_blocks);
  EXPECT_EQ(shown->files, stored.f_files);
  EXPECT_EQ(shown->namelen, stored.f_namemax - 6);
}

TEST_F(LookupTest, ReadLinkOfWhatIsNoSymlinkFails) {
  WriteCompressed("a", "text");
  Serve();
  EXPECT_EQ(ErrorOf(kernel().ReadLink(NodeOf("a"))), EINVAL);
}

}  // namespace
}  // namespace xzfs
