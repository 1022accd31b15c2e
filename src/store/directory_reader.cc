#include "store/directory_reader.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/try.h"

namespace xzfs {
namespace {

// The kernel's struct linux_dirent64.
constexpr size_t kInodeAt = 0;
constexpr size_t kOffsetAt = 8;
constexpr size_t kLengthAt = 16;
constexpr size_t kTypeAt = 18;
constexpr size_t kNameAt = 19;

constexpr size_t kBufferBytes = 32 * 1024;

template <class T>
T LoadAt(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::vector<RawLine> ParseLines(std::span<const std::byte> buffer) {
  std::vector<RawLine> lines;
  for (size_t at = 0; at + kNameAt < buffer.size();) {
    const std::byte* record = buffer.data() + at;
    const size_t length = LoadAt<uint16_t>(record + kLengthAt);
    if (length <= kNameAt || at + length > buffer.size()) {
      break;
    }
    const char* name = reinterpret_cast<const char*>(record + kNameAt);
    lines.push_back({std::string(name, strnlen(name, length - kNameAt)),
                     static_cast<uint64_t>(LoadAt<int64_t>(record + kOffsetAt)),
                     LoadAt<uint64_t>(record + kInodeAt), LoadAt<uint8_t>(record + kTypeAt)});
    at += length;
  }
  return lines;
}

}  // namespace

Result<std::vector<RawLine>> ReadLines(Os& os, int dir, uint64_t offset,
                                       std::span<std::byte> buffer) {
  if (const int64_t at = os.Seek(dir, static_cast<int64_t>(offset), SEEK_SET); at < 0) {
    return Fail(static_cast<int>(-at), "seek in a directory");
  }
  const ssize_t got = os.GetDents(dir, buffer);
  if (got == -ENOENT) {
    return std::vector<RawLine>();  // removed while it was open
  }
  if (got < 0) {
    return FailErrno(static_cast<int>(-got), "list a directory");
  }
  return ParseLines(buffer.first(static_cast<size_t>(got)));
}

Result<std::vector<RawLine>> ReadAllLines(Os& os, int dir) {
  std::vector<std::byte> buffer(kBufferBytes);
  std::vector<RawLine> all;
  for (uint64_t offset = 0;;) {
    XZFS_ASSIGN_OR_RETURN(std::vector<RawLine> lines, ReadLines(os, dir, offset, buffer));
    if (lines.empty()) {
      return all;
    }
    offset = lines.back().next_offset;
    for (RawLine& line : lines) {
      if (line.name != "." && line.name != "..") {
        all.push_back(std::move(line));
      }
    }
  }
}

Result<Descriptor> OpenDirectoryAt(Os& os, int source, const std::string& path) {
  Descriptor open;
  int at = source;
  for (size_t begin = 0; begin < path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    const int fd = os.OpenBeneath(at, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
      return FailErrno(-fd, "open the directory " + path);
    }
    open = Descriptor(os, fd);
    at = fd;
    begin = end + 1;
  }
  if (!open.valid()) {
    // The source itself: a descriptor of our own, with its own position.
    const int fd = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
      return FailErrno(errno, "open the source");
    }
    open = Descriptor(os, fd);
  }
  return open;
}

std::string JoinPath(const std::string& dir, const std::string& name) {
  return dir.empty() ? name : dir + "/" + name;
}

std::pair<std::string, std::string> SplitPath(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos
             ? std::pair<std::string, std::string>("", path)
             : std::pair<std::string, std::string>(path.substr(0, slash), path.substr(slash + 1));
}

}  // namespace xzfs
