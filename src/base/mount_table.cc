#include "base/mount_table.h"

#include <sys/sysmacros.h>

#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace xzfs {
namespace {

// The table has blanks, backslashes and '#' as "\ooo".
std::string Unescape(std::string_view word) {
  std::string text;
  while (!word.empty()) {
    unsigned code = 0;
    if (word[0] == '\\' && word.size() >= 4 &&
        std::from_chars(word.data() + 1, word.data() + 4, code, 8).ptr == word.data() + 4) {
      text += static_cast<char>(code);
      word.remove_prefix(4);
    } else {
      text += word[0];
      word.remove_prefix(1);
    }
  }
  return text;
}

// "MAJOR:MINOR"
dev_t DeviceOf(std::string_view word) {
  unsigned major = 0;
  unsigned minor = 0;
  const char* const end = word.data() + word.size();
  const auto [colon, error] = std::from_chars(word.data(), end, major);
  if (error == std::errc() && colon != end) {
    std::from_chars(colon + 1, end, minor);
  }
  return makedev(major, minor);
}

// The user id among the options that FUSE has in the mount table.
uid_t UserOf(std::string_view options) {
  constexpr std::string_view kKey = "user_id=";
  uid_t user = 0;
  if (const size_t at = options.find(kKey); at != std::string_view::npos) {
    std::from_chars(options.data() + at + kKey.size(), options.data() + options.size(), user);
  }
  return user;
}

}  // namespace

std::vector<MountEntry> ReadMountTable(const std::string& path) {
  std::vector<MountEntry> entries;
  std::ifstream table(path);
  for (std::string line; std::getline(table, line);) {
    // id parent MAJOR:MINOR root MOUNTPOINT options [optional...] - TYPE SOURCE OPTIONS
    std::istringstream words(line);
    std::string word;
    std::string source;
    std::string options;
    MountEntry entry;
    words >> entry.id >> word >> word;
    entry.device = DeviceOf(word);
    words >> word >> word;
    entry.mountpoint = Unescape(word);
    while (words >> word && word != "-") {
    }
    words >> entry.type >> source >> options;
    entry.source = Unescape(source);
    entry.user = UserOf(options);
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace xzfs
