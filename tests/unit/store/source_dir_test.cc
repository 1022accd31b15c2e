#include "store/source_dir.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "support/temp_dir.h"
#include "support/xz_builder.h"

namespace xzfs {
namespace {

// One pair, as it was when it was claimed.
class OnePair : public TwinRecords {
 public:
  void Claim(int dir, const std::string& plain, const std::string& compressed) {
    ASSERT_EQ(Os::Real().FactsAt(dir, plain, &plain_), 0);
    ASSERT_EQ(Os::Real().FactsAt(dir, compressed, &compressed_), 0);
  }
  bool AreTwins(const FileFacts& plain, const FileFacts& compressed) override {
    if (on_ask) {
      std::exchange(on_ask, nullptr)();
    }
    return Identity::Of(plain.attributes) == Identity::Of(plain_.attributes) &&
           Identity::Of(compressed.attributes) == Identity::Of(compressed_.attributes);
  }
  Result<bool> RemoveHidden(int, const std::string&, const std::string&) override { return false; }
  std::function<void()> on_ask;

 private:
  FileFacts plain_;
  FileFacts compressed_;
};

class SourceDirTest : public testing::Test {
 protected:
  // "KIND stored-name" of the file that is shown as `logical`.
  std::string Lookup(const std::string& logical) {
    const auto entry = names_.Lookup(dir_.fd(), logical);
    if (!entry) {
      return entry.error().code == ENOENT ? "-" : "error " + entry.error().message;
    }
    return Kind(entry->kind) + " " + entry->stored_name;
  }
  // The logical name of a stored one, or "-" if it is hidden.
  std::string Show(const std::string& stored) {
    const auto entry = names_.Show(dir_.fd(), stored);
    EXPECT_TRUE(entry) << stored;
    return entry && *entry ? (*entry)->logical_name : "-";
  }
  static std::string Kind(StoredKind kind) {
    static const std::map<StoredKind, std::string> names = {
        {StoredKind::kDirectory, "directory"},   {StoredKind::kPlain, "plain"},
        {StoredKind::kCompressed, "compressed"}, {StoredKind::kSymlink, "link"},
        {StoredKind::kStrippedLink, "xz-link"},  {StoredKind::kSpecial, "special"}};
    return names.at(kind);
  }
  void WriteXz(const std::string& name, std::string_view plain) {
    dir_.Write(name, MakeXz(plain, 4096));
  }
  void Link(const std::string& target, const std::string& name) {
    ASSERT_EQ(symlink(target.c_str(), (dir_.path() / name).c_str()), 0);
  }
  void SetMtime(const std::string& name, time_t seconds, long nanoseconds) {
    const struct timespec times[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};
    ASSERT_EQ(utimensat(dir_.fd(), name.c_str(), times, 0), 0);
  }

  // Every listed name is looked up as the same stored file, and no name is listed twice.
  void ExpectListingAndLookupAgree() {
    std::set<std::string> shown;
    for (const auto& item : std::filesystem::directory_iterator(dir_.path())) {
      const std::string stored = item.path().filename().string();
      const auto entry = names_.Show(dir_.fd(), stored);
      ASSERT_TRUE(entry) << stored;
      if (!*entry) {
        continue;
      }
      EXPECT_TRUE(shown.insert((*entry)->logical_name).second) << (*entry)->logical_name;
      EXPECT_EQ(Lookup((*entry)->logical_name), Kind((*entry)->kind) + " " + stored);
    }
  }

  const TempDir dir_;
  KnownFiles known_{1 << 20};
  OnePair twins_;
  const SourceDir names_{Os::Real(), known_, &twins_};
};

TEST_F(SourceDirTest, ACompressedFileIsShownWithoutItsSuffix) {
  WriteXz("a.log.xz", "hello");
  EXPECT_EQ(Lookup("a.log"), "compressed a.log.xz");
  EXPECT_EQ(Lookup("a.log.xz"), "-");
  EXPECT_EQ(Show("a.log.xz"), "a.log");
}

TEST_F(SourceDirTest, AnXzNameWithoutTheMagicIsShownAsItIs) {
  dir_.Write("a.xz", "just text");
  dir_.Write("empty.xz", "");
  EXPECT_EQ(Lookup("a.xz"), "plain a.xz");
  EXPECT_EQ(Lookup("a"), "-");
  EXPECT_EQ(Lookup("empty.xz"), "plain empty.xz");
}

TEST_F(SourceDirTest, XzContentWithoutTheSuffixIsShownAsItIs) {
  WriteXz("a", "hello");
  EXPECT_EQ(Lookup("a"), "plain a");
}

TEST_F(SourceDirTest, DirectoriesAndSpecialFilesAreThemselves) {
  std::filesystem::create_directory(dir_.path() / "foo.xz");
  ASSERT_EQ(mkfifo((dir_.path() / "fifo.xz").c_str(), 0600), 0);
  EXPECT_EQ(Lookup("foo.xz"), "directory foo.xz");
  EXPECT_EQ(Lookup("foo"), "-");
  EXPECT_EQ(Lookup("fifo.xz"), "special fifo.xz");
}

TEST_F(SourceDirTest, OnlyRegularFilesAreOpened) {
  ASSERT_EQ(mkfifo((dir_.path() / "fifo.xz").c_str(), 0600), 0);
  EXPECT_EQ(Lookup("fifo.xz"), "special fifo.xz");
  // A writer that doesn't wait gets an error, because nothing has opened the other end for reading.
  EXPECT_EQ(openat(dir_.fd(), "fifo.xz", O_WRONLY | O_NONBLOCK), -1);
  EXPECT_EQ(errno, ENXIO);
}

TEST_F(SourceDirTest, ALinkToACompressedFileLosesTheSuffixToo) {
  Link("T.xz", "L.xz");
  Link("T", "M.xz");
  Link("T.xz", "N");
  EXPECT_EQ(Lookup("L"), "xz-link L.xz");
  EXPECT_EQ(Lookup("L.xz"), "-");
  EXPECT_EQ(Lookup("M.xz"), "link M.xz");
  EXPECT_EQ(Lookup("N"), "link N");
  ExpectListingAndLookupAgree();
}

TEST_F(SourceDirTest, LegacyNamesAreShownWhenTheContentFits) {
  WriteXz("a.txz", "tar");
  dir_.Write("b.lzma", MakeLzmaAlone("hello", true));
  dir_.Write("c.lz", MakeLzipMember("hello"));
  dir_.Write("d.tlz", MakeLzipMember("tar"));
  dir_.Write("e.tlz", MakeLzmaAlone("tar", false));
  dir_.Write("f.lzma", "no lzma file begins like this");
  EXPECT_EQ(Lookup("a.tar"), "compressed a.txz");
  EXPECT_EQ(Lookup("b"), "compressed b.lzma");
  EXPECT_EQ(Lookup("c"), "compressed c.lz");
  EXPECT_EQ(Lookup("d.tar"), "compressed d.tlz");
  EXPECT_EQ(Lookup("e.tar"), "compressed e.tlz");
  EXPECT_EQ(Lookup("f.lzma"), "plain f.lzma");
  ExpectListingAndLookupAgree();
}

TEST_F(SourceDirTest, APlainFileWinsTheNameAndTheOtherStaysVisible) {
  dir_.Write("a", "plain");
  WriteXz("a.xz", "compressed");
  EXPECT_EQ(Lookup("a"), "plain a");
  EXPECT_EQ(Lookup("a.xz"), "plain a.xz");
  EXPECT_EQ(Show("a.xz"), "a.xz");
  const auto loser = names_.Lookup(dir_.fd(), "a.xz");
  ASSERT_TRUE(loser);
  EXPECT_EQ(loser->lost_to, "a");
  ExpectListingAndLookupAgree();
}

TEST_F(SourceDirTest, TheTwinOfAPlainFileIsHiddenIfARecordSaysSo) {
  dir_.Write("a", "hello");
  WriteXz("a.xz", "world");
  twins_.Claim(dir_.fd(), "a", "a.xz");
  EXPECT_EQ(Lookup("a"), "plain a");
  EXPECT_EQ(Lookup("a.xz"), "-");
  EXPECT_EQ(Show("a.xz"), "-");
  dir_.Write("a", "HELLO");
  EXPECT_EQ(Show("a.xz"), "a.xz");
}

TEST_F(SourceDirTest, SameTimeAndSizeMakeNoTwin) {
  dir_.Write("a", "hello");
  WriteXz("a.xz", "world");
  SetMtime("a", 1000, 5);
  SetMtime("a.xz", 1000, 5);
  EXPECT_EQ(Lookup("a"), "plain a");
  EXPECT_EQ(Lookup("a.xz"), "plain a.xz");
  EXPECT_EQ(Show("a.xz"), "a.xz");
}

// Another mount ends its commit just when the lookup checks whether there is one.
TEST_F(SourceDirTest, AFileWhoseTwinIsRemovedDuringALookupIsSeenOnce) {
  dir_.Write("a", "hello");
  WriteXz("a.xz", "world");
  twins_.on_ask = [&] { std::filesystem::remove(dir_.path() / "a"); };
  EXPECT_EQ(Show("a.xz"), "a");
  dir_.Write("a", "hello");
  twins_.on_ask = [&] { std::filesystem::remove(dir_.path() / "a.xz"); };
  EXPECT_EQ(Show("a.xz"), "-");
  EXPECT_EQ(Lookup("a"), "plain a");
}

TEST_F(SourceDirTest, MoreImportantFormatsWin) {
  WriteXz("a.tar.xz", "1");
  WriteXz("a.txz", "2");
  dir_.Write("a.tar.lzma", MakeLzmaAlone("3", true));
  dir_.Write("a.tlz", MakeLzipMember("4"));
  EXPECT_EQ(Lookup("a.tar"), "compressed a.tar.xz");
  EXPECT_EQ(Lookup("a.txz"), "plain a.txz");
  EXPECT_EQ(Lookup("a.tar.lzma"), "plain a.tar.lzma");
  EXPECT_EQ(Lookup("a.tlz"), "plain a.tlz");
  ExpectListingAndLookupAgree();
}

TEST_F(SourceDirTest, ADoublyCompressedFileIsShownAsItsOuterContent) {
  dir_.Write("x.xz.xz", MakeXz(MakeXz("inner", 100), 100));
  EXPECT_EQ(Lookup("x.xz"), "compressed x.xz.xz");
  EXPECT_EQ(Lookup("x"), "-");
  ExpectListingAndLookupAgree();
}

TEST_F(SourceDirTest, ANameAndItsDoublyCompressedNeighbourBothShow) {
  WriteXz("x.xz", "one");
  dir_.Write("x.xz.xz", MakeXz(MakeXz("two", 100), 100));
  EXPECT_EQ(Lookup("x"), "compressed x.xz");
  EXPECT_EQ(Lookup("x.xz"), "compressed x.xz.xz");
  ExpectListingAndLookupAgree();
}

TEST_F(SourceDirTest, LosersThatWantEachOthersNamesAreAllReachable) {
  dir_.Write("x", "plain");
  WriteXz("x.xz", "one");
  WriteXz("x.xz.xz", "two");
  WriteXz("x.xz.xz.xz", "three");
  WriteXz("x.lzma.xz", "four");
  dir_.Write("x.lzma", MakeLzmaAlone("five", true));
  ExpectListingAndLookupAgree();
}

TEST_F(SourceDirTest, AMissingNameIsENOENT) {
  EXPECT_EQ(Lookup("nothing"), "-");
  EXPECT_EQ(Lookup(std::string(255, 'a')), "-");
}

TEST_F(SourceDirTest, ACompressedFileComesOpenWithItsFirstBytes) {
  const std::string bytes = MakeXz(SomeText(20000), 4096);
  dir_.Write("a.xz", bytes);
  const auto entry = names_.Lookup(dir_.fd(), "a");
  ASSERT_TRUE(entry);
  EXPECT_TRUE(entry->file.valid());
  const ProbedFile file(Os::Real(), *entry);
  ASSERT_EQ(file.size(), bytes.size());
  std::string all(bytes.size(), '\0');
  ASSERT_TRUE(ReadFully(file, 0, std::as_writable_bytes(std::span(all))));
  EXPECT_EQ(all, bytes);
}

}  // namespace
}  // namespace xzfs
