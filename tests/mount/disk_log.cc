// A disk whose writes are logged: the file DIR/disk, which a loop device can lie on.
//
//   disk_log IMAGE LOG DIR
//
// The program writes to IMAGE what is written to DIR/disk, and appends it to LOG in the same order.
// From a copy of IMAGE and the log, disk_log.py can make every earlier state of the disk again. A
// record is three numbers of 8 bytes in the machine's byte order: kind, offset and length. A write
// also has its bytes:
//
//   1 write      2 flush: what was written before is on the disk      3 zeros
//
// The program answers requests one after the other, so the log has one order. It ends with the
// mount.
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fcntl.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

namespace {

enum Kind : uint64_t { kWrite = 1, kFlush = 2, kZeros = 3 };

int image = -1;
int log_file = -1;

bool IsDisk(const char* path) { return std::strcmp(path, "/disk") == 0; }

int WriteAll(int fd, const void* bytes, size_t count) {
  for (size_t done = 0; done < count;) {
    const ssize_t put = write(fd, static_cast<const char*>(bytes) + done, count - done);
    if (put < 0) {
      return -errno;
    }
    done += static_cast<size_t>(put);
  }
  return 0;
}

int Log(Kind kind, uint64_t offset, uint64_t length) {
  const std::array<uint64_t, 3> header = {kind, offset, length};
  return WriteAll(log_file, header.data(), sizeof header);
}

int GetAttr(const char* path, struct stat* st, struct fuse_file_info*) {
  *st = {};
  if (std::strcmp(path, "/") == 0) {
    st->st_mode = S_IFDIR | 0755;
    st->st_nlink = 2;
    return 0;
  }
  if (!IsDisk(path)) {
    return -ENOENT;
  }
  if (fstat(image, st) != 0) {
    return -errno;
  }
  st->st_mode = S_IFREG | 0600;
  return 0;
}

int Open(const char* path, struct fuse_file_info*) { return IsDisk(path) ? 0 : -ENOENT; }

int Read(const char*, char* out, size_t size, off_t offset, struct fuse_file_info*) {
  const ssize_t got = pread(image, out, size, offset);
  return got < 0 ? -errno : static_cast<int>(got);
}

int Write(const char*, const char* bytes, size_t size, off_t offset, struct fuse_file_info*) {
  const ssize_t put = pwrite(image, bytes, size, offset);
  if (put < 0) {
    return -errno;
  }
  const auto length = static_cast<uint64_t>(put);
  int error = Log(kWrite, static_cast<uint64_t>(offset), length);
  error = error < 0 ? error : WriteAll(log_file, bytes, length);
  return error < 0 ? error : static_cast<int>(put);
}

int FSync(const char*, int, struct fuse_file_info*) { return Log(kFlush, 0, 0); }

// A loop device makes holes when its file system discards or zeroes blocks.
int FAllocate(const char*, int mode, off_t offset, off_t length, struct fuse_file_info*) {
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0) {
    return -EOPNOTSUPP;
  }
  if (fallocate(image, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) != 0) {
    return -errno;
  }
  return Log(kZeros, static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: disk_log IMAGE LOG DIR\n", stderr);
    return 2;
  }
  image = open(argv[1], O_RDWR | O_CLOEXEC);
  log_file = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (image < 0 || log_file < 0) {
    std::perror("disk_log");
    return 1;
  }
  struct fuse_operations operations = {};
  operations.getattr = GetAttr;
  operations.open = Open;
  operations.read = Read;
  operations.write = Write;
  operations.fsync = FSync;
  operations.fallocate = FAllocate;
  std::string program = argv[0];
  std::string foreground = "-f";
  std::string single = "-s";
  std::array<char*, 5> arguments = {program.data(), foreground.data(), single.data(), argv[3],
                                    nullptr};
  return fuse_main(4, arguments.data(), &operations, nullptr);
}
