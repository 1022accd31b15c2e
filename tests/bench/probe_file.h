// A file opened for reading by a probe. Failure ends the program with a message: a probe that could
// not read has no figure.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace xzfs::bench {

inline void Require(bool condition, const std::string& why) {
  if (!condition) {
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, why.c_str());
    exit(1);
  }
}

// Thread-safe.
class ProbeFile {
 public:
  explicit ProbeFile(const std::string& path, int flags = 0)
      : path_(path), fd_(open(path.c_str(), O_RDONLY | flags)) {
    Require(fd_ >= 0, path + ": " + strerror(errno));
    struct stat st = {};
    Require(fstat(fd_, &st) == 0, path + ": " + strerror(errno));
    size_ = static_cast<uint64_t>(st.st_size);
  }
  ~ProbeFile() { close(fd_); }
  ProbeFile(const ProbeFile&) = delete;
  ProbeFile& operator=(const ProbeFile&) = delete;

  uint64_t size() const { return size_; }

  // Bytes read: less than `bytes` only at the file's end.
  size_t ReadAt(uint64_t offset, void* to, size_t bytes) const {
    size_t done = 0;
    while (done < bytes) {
      const ssize_t n = pread(fd_, static_cast<char*>(to) + done, bytes - done,
                              static_cast<off_t>(offset + done));
      Require(n >= 0, path_ + ": " + strerror(errno));
      if (n == 0) {
        break;
      }
      done += static_cast<size_t>(n);
    }
    return done;
  }

 private:
  const std::string path_;
  const int fd_;
  uint64_t size_ = 0;
};

}  // namespace xzfs::bench
