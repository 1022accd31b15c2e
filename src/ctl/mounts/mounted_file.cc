#include "ctl/mounts/mounted_file.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/try.h"
#include "ctl/mounts/mount_client.h"

namespace xzfs {
namespace {

// An attribute of an O_PATH descriptor can be read by this name only.
std::string NameOf(const UniqueFd& file) { return "/proc/self/fd/" + std::to_string(file.get()); }

}  // namespace

Result<std::unique_ptr<MountedFile>> MountedFile::Open(const std::string& path) {
  struct statfs fs = {};
  if (statfs(path.c_str(), &fs) != 0 || fs.f_type != FUSE_SUPER_MAGIC) {
    return nullptr;  // an error of statfs comes back when the file is opened
  }
  UniqueFd descriptor(open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!descriptor.valid()) {
    return FailErrno(errno, path);
  }
  auto file = std::unique_ptr<MountedFile>(new MountedFile(std::move(descriptor), path));
  const std::optional<Json> info = FileInfo(NameOf(file->file_));
  if (!info) {
    return nullptr;
  }
  file->stored_name_ = info->value("stored_name", "");
  const std::string state = info->value("state", "");
  if (state == "compressed" || state == "edited") {
    file->state_ = state == "edited" ? State::kEdited : State::kCompressed;
    file->version_ = info->value("stored_version", "");
    file->size_ = static_cast<uint64_t>(NumberAt(*info, "/compressed_bytes"));
    if (file->version_.empty()) {
      return Fail(EPROTO,
                  path +
                      ": the mount does not show stored files, as its daemon is of an older "
                      "version: mount again, or name the file in the source directory");
    }
  }
  return file;
}

Result<size_t> MountedFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size() && offset + done < size_) {
    const size_t want = std::min<size_t>(out.size() - done, XATTR_SIZE_MAX);
    const std::string key = "user.xzfs.stored." + version_ + "." + std::to_string(offset + done) +
                            "." + std::to_string(want);
    // The mount may ask for more room than the bytes take.
    char bytes[XATTR_SIZE_MAX];
    const ssize_t got = getxattr(NameOf(file_).c_str(), key.c_str(), bytes, sizeof bytes);
    if (got < 0 && errno == ESTALE) {
      return Fail(ESTALE, path_ + " was replaced while it was read: try again");
    }
    if (got < 0) {
      return FailErrno(errno, "read the stored form of " + path_);
    }
    if (got == 0) {
      break;
    }
    const size_t taken = std::min(static_cast<size_t>(got), want);
    std::memcpy(&out[done], bytes, taken);
    done += taken;
  }
  return done;
}

}  // namespace xzfs
