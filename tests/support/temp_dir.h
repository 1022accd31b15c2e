// A temporary directory for one test.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace xzfs {

// Made in TMPDIR; the destructor removes it with everything in it.
class TempDir {
 public:
  TempDir() {
    std::string path = (std::filesystem::temp_directory_path() / "xzfs-test-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), "mkdtemp");
    }
    path_ = std::filesystem::canonical(path);
    fd_ = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  ~TempDir() {
    close(fd_);
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int fd() const { return fd_; }

  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  void MakeDir(const std::string& name) const { std::filesystem::create_directories(path_ / name); }

  // Makes a file, and the folders that it is in.
  void Write(const std::string& name, std::string_view content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream file(path_ / name, std::ios::binary | std::ios::trunc);
    file << content;
    if (!file.flush()) {
      throw std::runtime_error("write " + name);
    }
  }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace xzfs
