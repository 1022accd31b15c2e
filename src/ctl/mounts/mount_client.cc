// Reading an attribute `user.xzfs.*` sends a request to the mount's daemon, and the value is the
// answer: JSON for stats, history and info; for a command "ok", or "error: " and why. The buffer is
// as large as a value may be, so one call is enough and no answer is cut off.
//
// The errors of that call tell apart what the user must do. ENOTCONN: the daemon is gone. EACCES:
// the mount is another user's. ENODATA or EOPNOTSUPP: this isn't the top of a mount of xzfs, or its
// version doesn't know the request. EPERM: the caller may not give that command.
//
// Who mounted it is looked up in the mount table, as the mount may not answer. For the same reason
// MountpointOf resolves a path only up to its last part, which is the mount.
#include "ctl/mounts/mount_client.h"

#include <linux/limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/try.h"
#include "base/unmount.h"

namespace xzfs {
namespace {

Failure<> FailAsking(int code, const std::string& path) {
  if (code == ENOTCONN) {
    return Fail(code, path +
                          ": a mount whose daemon is gone; take it away (the next one goes on with "
                          "what it left): xzfsctl umount " +
                          path);
  }
  auto error = FailErrno(code, path);
  if (const auto mount = code == EACCES ? FindXzfsMount(MountpointOf(path)) : std::nullopt) {
    error.error().message += "; the mount is for who mounted it (uid " +
                             std::to_string(mount->user) +
                             ") only: xzfs -o allow_other lets others in";
  }
  return error;
}

Result<std::string> GetAttribute(const std::string& path, const std::string& key) {
  std::string value(XATTR_SIZE_MAX, '\0');
  const std::string name = "user.xzfs." + key;
  const ssize_t length = getxattr(path.c_str(), name.c_str(), value.data(), value.size());
  if (length < 0) {
    return FailAsking(errno, path);
  }
  value.resize(static_cast<size_t>(length));
  return value;
}

constexpr const char* kNoMount =
    "no mount of xzfs is there: name one, or mount one with xzfs SOURCE MOUNTPOINT";

// The mount that `real`, a path without symlinks, is in.
std::optional<MountEntry> MountAbove(const std::string& real) {
  struct stat st = {};
  if (real.empty() || stat(real.c_str(), &st) != 0) {
    return std::nullopt;
  }
  for (const MountEntry& entry : ReadMountTable()) {
    const bool is_above = real == entry.mountpoint || real.starts_with(entry.mountpoint + "/");
    if (entry.is_xzfs() && entry.device == st.st_dev && is_above) {
      return entry;
    }
  }
  return std::nullopt;
}

// The text as a shell takes it for one word.
std::string ShellWord(const std::string& text) {
  const bool is_one = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("/._-+,:=@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (is_one && !text.empty()) {
    return text;
  }
  std::string word = "'";
  for (const char c : text) {
    word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  }
  return word + "'";
}

Result<Json> Parse(const std::string& path, const std::string& text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return Fail(EPROTO, path + ": what the mount told is not understood; is it of this version?");
  }
  return json;
}

}  // namespace

Result<MountClient> MountClient::Open(const std::string& path) {
  const auto stats = GetAttribute(path, "stats");
  if (stats) {
    return MountClient(path);
  }
  const int code = stats.error().code;
  if (code == ENODATA || code == EOPNOTSUPP) {
    return Fail(EINVAL,
                path + " is not the top of a mount of xzfs (findmnt -t fuse.xzfs lists them)");
  }
  return Failure(stats.error());
}

Result<Json> MountClient::Stats() const { return Read("stats"); }

Result<Json> MountClient::History() const { return Read("history"); }

Result<Json> MountClient::Read(const std::string& key) const {
  XZFS_ASSIGN_OR_RETURN(const std::string text, GetAttribute(path_, key));
  return Parse(path_, text);
}

Status MountClient::Command(const std::string& command) const {
  const auto answer = GetAttribute(path_, "cmd." + command);
  if (!answer) {
    const int code = answer.error().code;
    if (code == EPERM && command != "sync") {  // everybody may ask for that
      return Fail(EPERM, path_ + ": only root and who mounted it may do that");
    }
    if (code == ENODATA) {
      return Fail(ENODATA, path_ + ": the mount doesn't know that; is it of an older version?");
    }
    return Failure(answer.error());
  }
  constexpr std::string_view kError = "error: ";
  if (answer->starts_with(kError)) {
    return Fail(EINVAL, path_ + ": " + answer->substr(kError.size()));
  }
  return {};
}

std::vector<Moment> MomentsOf(const Json& history) {
  std::vector<Moment> moments;
  const Json columns = history.value("columns", Json::array());
  for (const Json& sample : history.value("samples", Json::array())) {
    const auto get = [&](const char* name) {
      const auto column =
          static_cast<size_t>(std::find(columns.begin(), columns.end(), name) - columns.begin());
      return sample.is_array() && column < sample.size() && sample[column].is_number()
                 ? sample[column].get<double>()
                 : 0.0;
    };
    moments.push_back({.begin = get("begin_unix_seconds"),
                       .seconds = get("milliseconds") / 1000,
                       .reads = get("reads"),
                       .hits = get("hits"),
                       .misses = get("misses"),
                       .served_bytes = get("served_bytes"),
                       .p50_us = get("p50_us"),
                       .p99_us = get("p99_us")});
  }
  return moments;
}

std::optional<Json> FileInfo(const std::string& path) {
  const auto text = GetAttribute(path, "info");
  const auto json = text ? Parse(path, *text) : Result<Json>(Failure(text.error()));
  return json ? std::optional(*json) : std::nullopt;
}

std::string MountpointOf(const std::string& path) {
  // The last part of it is the mount.
  std::string name = path;
  while (name.size() > 1 && name.ends_with('/')) {
    name.pop_back();
  }
  const size_t slash = name.rfind('/');
  const std::string above = slash == std::string::npos ? "." : name.substr(0, slash + 1);
  const std::optional<std::string> folder = RealPath(above);
  if (!folder) {
    return path;
  }
  return *folder + (*folder == "/" ? "" : "/") + name.substr(slash + 1);
}

std::optional<std::string> RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real == nullptr ? std::nullopt : std::optional<std::string>(real.get());
}

bool IsInMount(int fd) {
  struct statfs fs = {};
  return fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC &&
         fgetxattr(fd, "user.xzfs.info", nullptr, 0) > 0;
}

std::vector<std::string> AllMounts() {
  std::vector<std::string> paths;
  for (const MountEntry& entry : ReadMountTable()) {
    std::erase(paths, entry.mountpoint);
    if (entry.is_xzfs()) {
      paths.push_back(entry.mountpoint);
    }
  }
  return paths;
}

Result<std::vector<std::string>> NamedOrAllMounts(const std::vector<std::string>& named) {
  std::vector<std::string> paths = named.empty() ? AllMounts() : named;
  return paths.empty() ? Result<std::vector<std::string>>(Fail(ENOENT, kNoMount)) : paths;
}

Result<std::string> NamedOrOnlyMount(const std::string& named) {
  if (!named.empty()) {
    return named;
  }
  const std::vector<std::string> paths = AllMounts();
  if (paths.size() > 1) {
    std::string all;
    for (const std::string& path : paths) {
      all += " " + path;
    }
    return Fail(EINVAL, "there are several mounts, name one of them:" + all);
  }
  return paths.empty() ? Result<std::string>(Fail(ENOENT, kNoMount)) : paths.front();
}

std::optional<std::string> StoredPath(const std::string& path) {
  const std::optional<std::string> real = RealPath(path);
  const std::optional<MountEntry> mount = real ? MountAbove(*real) : std::nullopt;
  const std::optional<Json> info = mount ? FileInfo(path) : std::nullopt;
  if (!info) {
    return std::nullopt;
  }
  std::string stored = mount->source + real->substr(mount->mountpoint.size());
  if (info->value("state", "") != "directory") {
    stored = stored.substr(0, stored.rfind('/') + 1) + info->value("stored_name", "");
  }
  return stored;
}

Error InMountError(const std::string& path, const std::string& command) {
  const auto error = [](const std::string& text) {
    return Error{ErrorKind::kInvalid, EINVAL, text};
  };
  const std::string real = RealPath(path).value_or("");
  const std::optional<MountEntry> mount = MountAbove(real);
  const std::string what = path + " is in a mount of xzfs, and " + command +
                           " works on the stored files in the source directory: ";
  if (!mount) {
    return error(what + "name that (findmnt -t fuse.xzfs shows it)");
  }
  if (mount->source == mount->mountpoint) {
    return error(what + "unmount first, since it is the same directory: xzfsctl umount --wait " +
                 ShellWord(mount->mountpoint));
  }
  return error(what + "xzfsctl " + command + " " +
               ShellWord(StoredPath(path).value_or(mount->source)));
}

double NumberAt(const Json& json, const std::string& pointer) {
  const Json::json_pointer at(pointer);
  return json.contains(at) && json.at(at).is_number() ? json.at(at).get<double>() : 0;
}

}  // namespace xzfs
