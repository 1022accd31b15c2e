// GETXATTR and LISTXATTR: stored attributes, and ours.
#include <sys/xattr.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "protocol/counting_os.h"
#include "protocol/protocol_test.h"

namespace xzfs {
namespace {

using Json = nlohmann::json;

// A source whose files have attributes, on any file system.
class AttributeOs : public CountingOs {
 public:
  // Of stored name and key. Not to be changed while served.
  std::map<std::string, std::map<std::string, std::string>> attributes;

  ssize_t GetXattrAt(int, const std::string& name, const std::string& key,
                     std::span<char> out) override {
    const auto file = attributes.find(name);
    if (file == attributes.end() || file->second.count(key) == 0) {
      return -ENODATA;
    }
    return Fill(file->second.at(key), out);
  }
  ssize_t ListXattrAt(int, const std::string& name, std::span<char> out) override {
    std::string names;
    for (const auto& [key, value] : attributes[name]) {
      names += key + '\0';
    }
    return Fill(names, out);
  }

 private:
  static ssize_t Fill(const std::string& value, std::span<char> out) {
    if (!out.empty() && out.size() < value.size()) {
      return -ERANGE;
    }
    if (!out.empty()) {
      std::memcpy(out.data(), value.data(), value.size());
    }
    return static_cast<ssize_t>(value.size());
  }
};

class XattrTest : public ProtocolTest {
 protected:
  void ServeAttributes() {
    os_.attributes["a.xz"] = {{"user.note", "hello"},
                              {"user.empty", ""},
                              {"user.binary", std::string("\0\xff\0", 3)},
                              {"user.large", std::string(XATTR_SIZE_MAX, 'x')},
                              {"user.xzfs.info", "a stored one that poses as ours"}};
    os_.attributes["."] = {{"user.root", "value"}};
    WriteCompressed("a", SomeText(10000), 1000);
    source().Write("plain", "text");
    Serve({.os = &os_});
  }

  // As getxattr(2) is used: ask for the size, then for the value.
  Result<std::string> Get(uint64_t node, const std::string& key) {
    const auto size = kernel().GetXattrSize(node, key);
    if (!size) {
      return Failure(size.error());
    }
    return kernel().GetXattr(node, key, *size == 0 ? 1 : *size);
  }
  Json GetJson(uint64_t node, const std::string& key) {
    const auto text = Get(node, key);
    EXPECT_EQ(ErrorOf(text), 0) << key;
    return text ? Json::parse(*text, nullptr, /*allow_exceptions=*/false) : Json();
  }

  AttributeOs os_;
};

TEST_F(XattrTest, AStoredAttributeIsAnsweredBySizeAndByValue) {
  ServeAttributes();
  const uint64_t node = NodeOf("a");
  EXPECT_EQ(kernel().GetXattrSize(node, "user.note").value_or(999), 5U);
  EXPECT_EQ(kernel().GetXattr(node, "user.note", 5).value_or("?"), "hello");
  EXPECT_EQ(kernel().GetXattr(node, "user.note", 65536).value_or("?"), "hello");
  EXPECT_EQ(ErrorOf(kernel().GetXattr(node, "user.note", 4)), ERANGE);
  EXPECT_EQ(ErrorOf(kernel().GetXattr(node, "user.note", 1)), ERANGE);
  EXPECT_EQ(kernel().GetXattrSize(node, "user.empty").value_or(999), 0U);
  EXPECT_EQ(kernel().GetXattr(node, "user.empty", 10).value_or("?"), "");
  EXPECT_EQ(Get(node, "user.binary").value_or("?"), std::string("\0\xff\0", 3));
  EXPECT_EQ(kernel().GetXattrSize(node, "user.large").value_or(999), uint32_t{XATTR_SIZE_MAX});
  EXPECT_TRUE(Get(node, "user.large").value_or("?") == std::string(XATTR_SIZE_MAX, 'x'));
  EXPECT_EQ(Get(FUSE_ROOT_ID, "user.root").value_or("?"), "value");
}

TEST_F(XattrTest, AnAttributeThatIsNotThereIsENODATA) {
  ServeAttributes();
  for (const uint64_t node : {NodeOf("a"), NodeOf("plain"), uint64_t{FUSE_ROOT_ID}}) {
    for (const char* key : {"user.none", "user.xzfs.none", "user.xzfs.", "security.capability"}) {
      EXPECT_EQ(ErrorOf(kernel().GetXattrSize(node, key)), ENODATA) << key;
      EXPECT_EQ(ErrorOf(kernel().GetXattr(node, key, 100)), ENODATA) << key;
    }
  }
}

TEST_F(XattrTest, TheListIsAnsweredBySizeAndByValueAndDoesNotShowOurs) {
  ServeAttributes();
  const uint64_t node = NodeOf("a");
  const std::string names("user.binary\0user.empty\0user.large\0user.note\0", 44);
  EXPECT_EQ(kernel().ListXattrSize(node).value_or(999), names.size());
  EXPECT_EQ(kernel().ListXattr(node, static_cast<uint32_t>(names.size())).value_or("?"), names);
  EXPECT_EQ(kernel().ListXattr(node, 65536).value_or("?"), names);
  EXPECT_EQ(ErrorOf(kernel().ListXattr(node, static_cast<uint32_t>(names.size()) - 1)), ERANGE);
  EXPECT_EQ(kernel().ListXattrSize(NodeOf("plain")).value_or(999), 0U);
  EXPECT_EQ(kernel().ListXattr(NodeOf("plain"), 100).value_or("?"), "");
  EXPECT_EQ(kernel().ListXattr(FUSE_ROOT_ID, 100).value_or("?"), std::string("user.root\0", 10));
}

TEST_F(XattrTest, StatsOfTheRootAreJsonWithTheMountsFigures) {
  ServeAttributes();
  const uint64_t node = NodeOf("a");
  ASSERT_TRUE(kernel().Read(node, OpenNode(node), 0, 5000));
  const Json stats = GetJson(FUSE_ROOT_ID, "user.xzfs.stats");
  ASSERT_TRUE(stats.is_object()) << stats;
  EXPECT_EQ(stats.value("schema", 0), 2);
  EXPECT_EQ(stats.value("nodes", 0), 2);
  EXPECT_GE(stats.value("decoded_bytes", 0), 5000);
  EXPECT_GE(stats.value("served_bytes", 0), 5000);
  EXPECT_EQ(stats["budget"].value("total_bytes", 0), 64 << 20);
}

TEST_F(XattrTest, StatsFollowTheSizeProtocolWhileTheyChange) {
  ServeAttributes();
  const uint64_t node = NodeOf("a");
  const uint64_t handle = OpenNode(node);
  for (int i = 0; i < 50; ++i) {
    const auto size = kernel().GetXattrSize(FUSE_ROOT_ID, "user.xzfs.stats");
    ASSERT_TRUE(size);
    ASSERT_TRUE(kernel().Read(node, handle, static_cast<uint64_t>(i) * 100, 5000));
    const auto text = kernel().GetXattr(FUSE_ROOT_ID, "user.xzfs.stats", *size);
    ASSERT_EQ(ErrorOf(text), 0);
    EXPECT_TRUE(Json::accept(*text)) << *text;
    EXPECT_EQ(ErrorOf(kernel().GetXattr(FUSE_ROOT_ID, "user.xzfs.stats", 10)), ERANGE);
  }
}

TEST_F(XattrTest, StatsBelongToTheRootAlone) {
  ServeAttributes();
  std::filesystem::create_directory(source().path() / "d");
  for (const char* name : {"a", "plain", "d"}) {
    EXPECT_EQ(ErrorOf(Get(NodeOf(name), "user.xzfs.stats")), ENODATA) << name;
  }
}

TEST_F(XattrTest, InfoTellsHowAFileIsStored) {
  ServeAttributes();
  const Json compressed = GetJson(NodeOf("a"), "user.xzfs.info");
  ASSERT_TRUE(compressed.is_object()) << "and not the stored attribute of that name";
  EXPECT_EQ(compressed.value("stored_name", ""), "a.xz");
  EXPECT_EQ(compressed.value("state", ""), "compressed");
  EXPECT_EQ(compressed.value("plain_bytes", 0), 10000);
  EXPECT_EQ(compressed.value("compressed_bytes", 0), StatStored("a.xz").st_size);
  EXPECT_EQ(compressed.value("streams", 0), 1);
  EXPECT_EQ(compressed.value("blocks", 0), 10);
  EXPECT_EQ(compressed.value("largest_block_bytes", 0), 1000);

  const Json plain = GetJson(NodeOf("plain"), "user.xzfs.info");
  EXPECT_EQ(plain.value("state", ""), "plain");
  EXPECT_EQ(plain.value("stored_name", ""), "plain");
  EXPECT_EQ(plain.value("plain_bytes", 0), 4);
}

TEST_F(XattrTest, StoredBytesAreAnsweredForTheVersionThatInfoNamed) {
  ServeAttributes();
  const std::string version = GetJson(NodeOf("a"), "user.xzfs.info").value("stored_version", "");
  const std::string key = "user.xzfs.stored." + version + ".";
  std::ifstream file(source().path() / "a.xz", std::ios::binary);
  const std::string stored((std::istreambuf_iterator<char>(file)), {});
  ASSERT_GT(stored.size(), 200U);
  EXPECT_EQ(kernel().GetXattr(NodeOf("a"), key + "0.65536", 65536).value_or("?"), stored);
  EXPECT_EQ(kernel().GetXattr(NodeOf("a"), key + "100.7", 65536).value_or("?"),
            stored.substr(100, 7));
  EXPECT_EQ(kernel().GetXattr(NodeOf("a"), key + "1000000.7", 65536).value_or("?"), "");
  for (const char* wrong : {"", "0", "0.", ".7", "x.7", "0.-7", "0.7x"}) {
    EXPECT_EQ(ErrorOf(kernel().GetXattr(NodeOf("a"), key + wrong, 65536)), ENODATA) << wrong;
  }
  EXPECT_EQ(ErrorOf(kernel().GetXattr(NodeOf("a"), "user.xzfs.stored.1-2-3.0.7", 65536)), ESTALE);
  EXPECT_EQ(ErrorOf(kernel().GetXattr(NodeOf("plain"), key + "0.7", 65536)), ENODATA);
}

TEST_F(XattrTest, InfoOfADamagedFileSaysSo) {
  std::string bytes = MakeXz(SomeText(50000), 4096);
  bytes.resize(bytes.size() - 8);
  source().Write("bad.xz", bytes);
  ServeAttributes();
  const Json info = GetJson(NodeOf("bad"), "user.xzfs.info");
  ASSERT_TRUE(info.is_object());
  EXPECT_TRUE(info.contains("damaged"));
  EXPECT_TRUE(info["plain_bytes"].is_null());
}

TEST_F(XattrTest, InfoIsJsonWhateverTheNameIs) {
  const std::string name = "\xff\"\n\xc3";
  WriteCompressed(name, "text");
  ServeAttributes();
  EXPECT_TRUE(GetJson(NodeOf(name), "user.xzfs.info").is_object());
}

// With "user.xzfs.own" and a value of one byte.
TEST_F(XattrTest, OurOwnAttributesCannotBeSet) {
  ServeAttributes();
  fuse_setxattr_in in = {};
  in.size = 1;
  const std::string name("user.xzfs.own\0", 14);
  const std::string body(reinterpret_cast<const char*>(&in), FUSE_COMPAT_SETXATTR_IN_SIZE);
  EXPECT_EQ(kernel().Ask(FUSE_SETXATTR, NodeOf("a"), body + name + "x").error, EPERM);
  EXPECT_EQ(kernel().Ask(FUSE_REMOVEXATTR, NodeOf("a"), name).error, EPERM);
}

}  // namespace
}  // namespace xzfs
