// OPEN, and what becomes of an open file when the stored one changes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "protocol/counting_os.h"
#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

class OpenTest : public ProtocolTest {
 protected:
  // `old` if the whole of it is read through the handle, "error" if that fails with ESTALE,
  // otherwise what was read.
  std::string ReadOld(uint64_t node, uint64_t handle, const std::string& old) {
    std::string all;
    while (all.size() <= old.size()) {
      const auto got = kernel().Read(node, handle, all.size(), 50000);
      if (!got) {
        EXPECT_EQ(got.error().code, ESTALE);
        return "error";
      }
      if (got->empty()) {
        break;
      }
      all += *got;
    }
    return all;
  }

  CountingOs os_;
};

TEST_F(OpenTest, OpeningForWritingIsEROFSOnAReadOnlyMount) {
  WriteCompressed("compressed", "text");
  source().Write("plain", "text");
  Serve({.read_only = true});
  for (const char* name : {"compressed", "plain"}) {
    const uint64_t node = NodeOf(name);
    for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC, O_ACCMODE}) {
      EXPECT_EQ(ErrorOf(kernel().Open(node, static_cast<uint32_t>(flags))), EROFS)
          << name << ", flags " << flags;
    }
  }
}

TEST_F(OpenTest, FlagsThatDoNotWriteAreAccepted) {
  WriteCompressed("a", "text");
  Serve();
  const uint64_t node = NodeOf("a");
  for (const int flags : {O_RDONLY, O_NONBLOCK, O_NOATIME, O_DIRECT, O_LARGEFILE, O_SYNC}) {
    EXPECT_EQ(ErrorOf(kernel().Open(node, static_cast<uint32_t>(flags))), 0) << flags;
  }
}

TEST_F(OpenTest, WhatIsNoRegularFileDoesNotOpen) {
  std::filesystem::create_directory(source().path() / "dir");
  std::filesystem::create_symlink("dir", source().path() / "link");
  ASSERT_EQ(mkfifo((source().path() / "fifo").c_str(), 0600), 0);
  ASSERT_EQ(mkfifo((source().path() / "fifo.xz").c_str(), 0600), 0);
  Serve();
  EXPECT_EQ(ErrorOf(kernel().Open(NodeOf("dir"))), EISDIR);
  EXPECT_EQ(ErrorOf(kernel().Open(NodeOf("link"))), ENXIO);
  EXPECT_EQ(ErrorOf(kernel().Open(NodeOf("fifo"))), ENXIO);
  EXPECT_EQ(ErrorOf(kernel().Open(NodeOf("fifo.xz"))), ENXIO);
}

TEST_F(OpenTest, TheKernelKeepsItsPagesWhileTheStoredFileIsTheSame) {
  WriteCompressed("compressed", "text");
  source().Write("plain", "text");
  os_.SetAge(60);
  Serve({.os = &os_});
  // A node of a compressed file is one version of it: what is cached of the node is always good.
  const uint64_t compressed = NodeOf("compressed");
  EXPECT_TRUE(kernel().Open(compressed)->open_flags & FOPEN_KEEP_CACHE);
  const uint64_t plain = NodeOf("plain");
  EXPECT_FALSE(kernel().Open(plain)->open_flags & FOPEN_KEEP_CACHE) << "nothing is known yet";
  EXPECT_TRUE(kernel().Open(plain)->open_flags & FOPEN_KEEP_CACHE);
  source().Write("plain", "longer text");
  EXPECT_FALSE(kernel().Open(plain)->open_flags & FOPEN_KEEP_CACHE);
  EXPECT_TRUE(kernel().Open(plain)->open_flags & FOPEN_KEEP_CACHE);
}

TEST_F(OpenTest, PagesOfAPlainFileThatChangedJustNowAreNotTrusted) {
  source().Write("plain", "text");
  Serve();
  const uint64_t plain = NodeOf("plain");
  EXPECT_FALSE(kernel().Open(plain)->open_flags & FOPEN_KEEP_CACHE);
  EXPECT_FALSE(kernel().Open(plain)->open_flags & FOPEN_KEEP_CACHE)
      << "it may change again within the same clock tick";
}

TEST_F(OpenTest, TheKernelNeedNotFlushAndMustNotBypassItsCache) {
  WriteCompressed("a", "text");
  Serve();
  const auto opened = kernel().Open(NodeOf("a"));
  ASSERT_TRUE(opened);
  EXPECT_TRUE(opened->open_flags & FOPEN_NOFLUSH);
  EXPECT_FALSE(opened->open_flags & FOPEN_DIRECT_IO);
}

TEST_F(OpenTest, ANodeWhoseFileWasReplacedIsESTALE) {
  WriteCompressed("compressed", "old text");
  source().Write("plain", "old text");
  Serve();
  const uint64_t compressed = NodeOf("compressed");
  const uint64_t plain = NodeOf("plain");
  ReplaceStored("compressed.xz", MakeXz("new text", 4096));
  ReplaceStored("plain", "new text");
  EXPECT_EQ(ErrorOf(kernel().Open(compressed)), ESTALE);
  EXPECT_EQ(ErrorOf(kernel().Open(plain)), ESTALE);
  for (const char* name : {"compressed", "plain"}) {
    const uint64_t node = NodeOf(name);
    EXPECT_EQ(kernel().Read(node, OpenNode(node), 0, 100).value_or("?"), "new text");
  }
}

// Then its descriptor is still open and would give the old bytes under the new file's name.
TEST_F(OpenTest, ANodeWhoseFileWasReplacedIsESTALEAlsoWhileItIsOpen) {
  WriteCompressed("compressed", "old text");
  source().Write("plain", "old text");
  Serve();
  const uint64_t compressed = NodeOf("compressed");
  const uint64_t plain = NodeOf("plain");
  for (const uint64_t node : {compressed, plain}) {
    EXPECT_EQ(kernel().Read(node, OpenNode(node), 0, 100).value_or("?"), "old text");
  }
  ReplaceStored("compressed.xz", MakeXz("new text", 4096));
  ReplaceStored("plain", "new text");
  EXPECT_EQ(ErrorOf(kernel().Open(compressed)), ESTALE);
  EXPECT_EQ(ErrorOf(kernel().Open(plain)), ESTALE);
}

TEST_F(OpenTest, TheBytesThatALookupLeftAreNotGivenForAReplacedOrRewrittenFile) {
  for (const char* name : {"replaced", "rewritten"}) {
    WriteCompressed(name, "old text");
  }
  Serve();
  const uint64_t replaced = NodeOf("replaced");
  const uint64_t rewritten = NodeOf("rewritten");
  ASSERT_GT(mount().engine.small_files.kept_bytes(), 0U);
  ReplaceStored("replaced.xz", MakeXz("new text", 4096));
  source().Write("rewritten.xz", MakeXz("new text", 4096));
  EXPECT_EQ(ErrorOf(kernel().Open(replaced)), ESTALE);
  EXPECT_EQ(ErrorOf(kernel().Open(rewritten)), ESTALE);
  for (const char* name : {"replaced", "rewritten"}) {
    const uint64_t node = NodeOf(name);
    EXPECT_EQ(kernel().Read(node, OpenNode(node), 0, 100).value_or("?"), "new text");
  }
}

// It is open without a descriptor: its bytes are those that the lookup left.
TEST_F(OpenTest, ASmallOpenFileThatIsReplacedOrRewrittenNeverGivesAMixture) {
  const std::string old_text = SomeText(9000, 1);
  const std::string new_text = SomeText(9000, 2);
  for (const char* name : {"replaced", "rewritten", "removed"}) {
    WriteCompressed(name, old_text, 4096);
  }
  Serve({.os = &os_});
  for (const std::string name : {"replaced", "rewritten", "removed"}) {
    const uint64_t node = NodeOf(name);
    os_.Take();
    const uint64_t handle = OpenNode(node);
    EXPECT_EQ(os_.Take().opens, 0);
    EXPECT_EQ(kernel().Read(node, handle, 0, 10).value_or("?"), old_text.substr(0, 10));
    if (name == "replaced") {
      ReplaceStored("replaced.xz", MakeXz(new_text, 4096));
    } else if (name == "rewritten") {
      source().Write("rewritten.xz", MakeXz(new_text, 4096));
    } else {
      std::filesystem::remove(source().path() / "removed.xz");
    }
    EXPECT_TRUE(ReadOld(node, handle, old_text) == old_text) << name;
  }
}

TEST_F(OpenTest, AFileThatIsReplacedWhileALookupReadsItIsNotRemembered) {
  WriteCompressed("a", "old text");
  Serve({.single_threaded = true, .os = &os_});
  int calls = 0;
  os_.SetHook([&](const std::string& name) {
    if (name == "a.xz" && ++calls == 2) {  // after the stat, before the open
      ReplaceStored("a.xz", MakeXz("the new text", 4096));
    }
  });
  const auto raced = kernel().Lookup(FUSE_ROOT_ID, "a");
  os_.SetHook(nullptr);
  ASSERT_EQ(calls, 2);
  ASSERT_TRUE(raced);
  EXPECT_EQ(mount().engine.small_files.kept_bytes(), 0U) << "under a version that they aren't of";
  EXPECT_EQ(ErrorOf(kernel().Open(raced->nodeid)), ESTALE);
  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "a");
  ASSERT_TRUE(entry);
  EXPECT_NE(entry->nodeid, raced->nodeid);
  EXPECT_EQ(entry->attr.size, 12U);
  EXPECT_EQ(kernel().Read(entry->nodeid, OpenNode(entry->nodeid), 0, 100).value_or("?"),
            "the new text");
}

TEST_F(OpenTest, ANodeWhoseFileWasRemovedIsESTALE) {
  WriteCompressed("compressed", "old text");
  source().Write("plain", "old text");
  Serve();
  for (const char* name : {"compressed", "plain"}) {
    const uint64_t node = NodeOf(name);
    std::filesystem::remove(source().path() / name);
    std::filesystem::remove(source().path() / (std::string(name) + ".xz"));
    EXPECT_EQ(ErrorOf(kernel().Open(node)), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().GetAttr(node)), ESTALE);
    EXPECT_EQ(ErrorOf(kernel().Lookup(FUSE_ROOT_ID, name)), ENOENT);
  }
}

TEST_F(OpenTest, AnOpenFileThatIsReplacedKeepsItsBytesOrFails) {
  const std::string old_text = SomeText(300000, 1);
  const std::string new_text = SomeText(400000, 2);
  WriteCompressed("compressed", old_text, 20000);
  source().Write("plain", old_text);
  Serve();
  const uint64_t compressed = NodeOf("compressed");
  const uint64_t compressed_handle = OpenNode(compressed);
  const uint64_t plain = NodeOf("plain");
  const uint64_t plain_handle = OpenNode(plain);
  EXPECT_EQ(kernel().Read(compressed, compressed_handle, 0, 10).value_or("?"),
            old_text.substr(0, 10));
  ReplaceStored("compressed.xz", MakeXz(new_text, 20000));
  ReplaceStored("plain", new_text);

  EXPECT_TRUE(ReadOld(compressed, compressed_handle, old_text) == old_text)
      << "its descriptor is open";
  EXPECT_TRUE(ReadOld(plain, plain_handle, old_text) == old_text);
  const auto attr = kernel().GetAttr(compressed);
  ASSERT_TRUE(attr) << "a program that has it open can fstat it";
  EXPECT_EQ(attr->attr.size, old_text.size());

  const auto entry = kernel().Lookup(FUSE_ROOT_ID, "compressed");
  ASSERT_TRUE(entry);
  EXPECT_NE(entry->nodeid, compressed) << "or the kernel would mix the pages of both";
  EXPECT_EQ(entry->attr.size, new_text.size());
  const uint64_t handle = OpenNode(entry->nodeid);
  EXPECT_TRUE(ReadOld(entry->nodeid, handle, new_text) == new_text);
  EXPECT_TRUE(ReadOld(compressed, compressed_handle, old_text) == old_text);
}

TEST_F(OpenTest, AnOpenCompressedFileThatIsRewrittenInPlaceNeverGivesMixedBytes) {
  const std::string old_text = SomeText(300000, 1);
  const std::string new_text = SomeText(290000, 2);
  WriteCompressed("a", old_text, 20000);
  Serve();
  const uint64_t node = NodeOf("a");
  const uint64_t handle = OpenNode(node);
  EXPECT_EQ(kernel().Read(node, handle, 0, 10).value_or("?"), old_text.substr(0, 10));
  WriteCompressed("a", new_text, 20000);
  for (uint64_t offset = 0; offset < old_text.size(); offset += 10000) {
    const auto got = kernel().Read(node, handle, offset, 10000);
    EXPECT_TRUE(got ? *got == old_text.substr(offset, 10000) : got.error().code == ESTALE)
        << offset;
  }
  EXPECT_NE(NodeOf("a"), node);
}

TEST_F(OpenTest, AnOpenFileIsNotDisturbedByAChangeOfItsAttributesOrName) {
  const std::string text = SomeText(300000);
  WriteCompressed("a", text, 20000);
  Serve();
  const uint64_t node = NodeOf("a");
  const uint64_t handle = OpenNode(node);
  std::filesystem::permissions(source().path() / "a.xz", std::filesystem::perms(0600));
  EXPECT_TRUE(ReadOld(node, handle, text) == text);
  std::filesystem::rename(source().path() / "a.xz", source().path() / "b.xz");
  EXPECT_TRUE(ReadOld(node, handle, text) == text);
  std::filesystem::remove(source().path() / "b.xz");
  EXPECT_TRUE(ReadOld(node, handle, text) == text);
}

TEST_F(OpenTest, EachOpenHasAHandleOfItsOwn) {
  WriteCompressed("a", "text");
  Serve();
  const uint64_t node = NodeOf("a");
  // The fake kernel fails the test if a handle is given out twice.
  for (int i = 0; i < 100; ++i) {
    EXPECT_NE(OpenNode(node), 0U);
  }
}

}  // namespace
}  // namespace xzfs
