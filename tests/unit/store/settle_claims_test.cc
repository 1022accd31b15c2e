// A power cut leaves two files, and one was about to replace the other: which one stays.
#include "store/settle_claims.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "support/temp_dir.h"

namespace xzfs {
namespace {

namespace fs = std::filesystem;

// `file` was compressed to `file.xz`, which has its name; the power failed before `file` was
// removed.
class SettleTwinsTest : public testing::Test {
 protected:
  void Make(const std::string& left) {
    std::ofstream(Path("file")) << left;
    std::ofstream(Path("file.xz")) << "compressed";
    claim_.name = "file";
    claim_.other = "file.xz";
    FileFacts facts;
    ASSERT_EQ(Os::Real().FactsAt(dir_.fd(), "file", &facts), 0);
    if (facts.birth_ns == 0) {
      GTEST_SKIP() << "this file system knows no birth times";
    }
    claim_.old = StoredKey::Of(facts);
    claim_.old.size_bytes = 1000;  // as it was when it was compressed
    claim_.old_ctime_ns = Identity::Of(facts.attributes).ctime_ns;
    ASSERT_EQ(Os::Real().FactsAt(dir_.fd(), "file.xz", &facts), 0);
    claim_.made = StoredKey::Of(facts);
  }
  fs::path Path(const std::string& name) const { return dir_.path() / name; }
  bool Has(const std::string& name) const { return fs::exists(Path(name)); }
  void Settle() { EXPECT_TRUE(SettleClaim(Os::Real(), *session_, dir_.fd(), claim_)); }
  // The contents of the files in lost+found, without the notes.
  std::string Finds() const {
    std::string finds;
    const fs::path lost = Path(".xzfs/lost+found");
    if (fs::exists(lost)) {
      for (const auto& entry : fs::directory_iterator(lost)) {
        std::ifstream file(entry.path());
        finds += entry.path().extension() == ".note"
                     ? ""
                     : std::string(std::istreambuf_iterator<char>(file), {});
      }
    }
    return finds;
  }

  const TempDir dir_;
  const std::unique_ptr<Session> session_ = *Session::Create(Os::Real(), dir_.fd());
  Claim claim_;
};

TEST_F(SettleTwinsTest, ThePlainFileStaysIfItIsTheOneThatWasCompressed) {
  Make(std::string(1000, 'x'));
  Settle();
  EXPECT_TRUE(Has("file") && !Has("file.xz"));
}

TEST_F(SettleTwinsTest, AnEarlierStateOfThePlainFileIsMovedToLostAndFound) {
  Make("torn");
  Settle();
  EXPECT_TRUE(!Has("file") && Has("file.xz"));
  EXPECT_EQ(Finds(), "torn");
}

TEST_F(SettleTwinsTest, AnEmptyEarlierStateOfThePlainFileIsRemoved) {
  Make("");
  Settle();
  EXPECT_TRUE(!Has("file") && Has("file.xz"));
  EXPECT_EQ(Finds(), "");
}

TEST_F(SettleTwinsTest, BothStayIfThePlainFileWasChangedLater) {
  Make("changed");
  claim_.old_ctime_ns -= 1;
  Settle();
  EXPECT_TRUE(Has("file") && Has("file.xz"));
}

TEST_F(SettleTwinsTest, BothStayIfThePlainFileMayBeAnotherFile) {
  Make("other");
  const int64_t birth_ns = claim_.old.birth_ns;
  for (const int64_t other : {int64_t{0}, birth_ns + 1}) {
    claim_.old.birth_ns = other;
    Settle();
    EXPECT_TRUE(Has("file") && Has("file.xz"));
  }
}

TEST_F(SettleTwinsTest, BothStayIfTheCompressedFileIsFromAnotherProgram) {
  Make("torn");
  ++claim_.made.mtime_ns;
  Settle();
  EXPECT_TRUE(Has("file") && Has("file.xz"));
}

}  // namespace
}  // namespace xzfs
