#include "store/overlay_copies.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/try.h"
#include "store/names.h"

namespace xzfs {
namespace {

// How much is copied at a time.
constexpr size_t kCopyBytes = size_t{1} << 20;

// Copies all that `from` has in [begin, end). The rest of that range stays zeros.
Status CopyBytes(const OverlayFiles& files, int from, int to, uint64_t begin, uint64_t end,
                 std::vector<std::byte>& buffer) {
  buffer.resize(kCopyBytes);
  while (begin < end) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), end - begin));
    const ssize_t got = files.os().PRead(from, part, begin);
    if (got < 0) {
      return FailErrno(static_cast<int>(-got), "read an overlay");
    }
    if (got == 0) {
      break;
    }
    XZFS_RETURN_IF_ERROR(files.Write(to, part.first(static_cast<size_t>(got)), begin));
    begin += static_cast<uint64_t>(got);
  }
  return {};
}

Status FillFreshData(const OverlayFiles& files, const Descriptor& old, const Descriptor& fresh,
                     const OverlayContent& content) {
  Os& os = files.os();
  const auto check = [&](int error) -> Status {
    return error < 0 ? FailErrno(-error, "write the overlay " + files.id() + " again") : Status();
  };
  struct stat st = {};
  XZFS_RETURN_IF_ERROR(check(os.FStat(old.get(), &st)));
  XZFS_RETURN_IF_ERROR(check(os.Truncate(fresh.get(), content.size())));
  std::vector<std::byte> buffer;
  for (const auto& [begin, end] : content.written()) {
    XZFS_RETURN_IF_ERROR(CopyBytes(files, old.get(), fresh.get(), begin, end, buffer));
  }
  const struct timespec times[2] = {st.st_atim, st.st_mtim};
  XZFS_RETURN_IF_ERROR(check(os.FSetTimes(fresh.get(), times)));
  return check(os.Sync(fresh.get()));
}

Status CopyFile(const OverlayFiles& files, const Descriptor& from, int folder,
                const std::string& to) {
  Os& os = files.os();
  struct stat st = {};
  if (const int error = os.FStat(from.get(), &st); error < 0) {
    return FailErrno(-error, "stat the overlay " + files.id());
  }
  const int fd = os.OpenBeneath(folder, to, O_RDWR | O_CREAT | O_TRUNC, kPrivateFileMode);
  if (fd < 0) {
    return FailErrno(-fd, "copy the overlay " + files.id());
  }
  const Descriptor copy(os, fd);
  const auto size = static_cast<uint64_t>(st.st_size);
  std::vector<std::byte> buffer;
  XZFS_RETURN_IF_ERROR(CopyBytes(files, from.get(), fd, 0, size, buffer));
  const int error = os.Sync(fd);
  return error < 0 ? FailErrno(-error, "sync the copy of the overlay " + files.id()) : Status();
}

}  // namespace

Result<Descriptor> WriteFreshData(OverlayFiles& files, const Descriptor& old,
                                  const OverlayContent& content) {
  XZFS_ASSIGN_OR_RETURN(Descriptor fresh, files.MakeFresh(OverlayFiles::kData));
  if (const Status filled = FillFreshData(files, old, fresh, content); !filled) {
    files.DropFresh(OverlayFiles::kData);
    return Failure(filled.error());
  }
  return fresh;
}

Result<OverlayMove> MoveFiles(OverlayFiles& files, int folder, const std::string& name) {
  OverlayMove moved = OverlayMove::kAll;
  for (const auto which : {OverlayFiles::kData, OverlayFiles::kLog}) {
    const std::string to = name + (which == OverlayFiles::kData ? ".data" : ".log");
    const int error = files.os().Rename(files.folder(), files.NameOf(which), folder, to, 0);
    if (error < 0 && error != -ENOENT) {
      return FailErrno(-error, "move the overlay " + files.id());
    }
    const OverlayFiles::Ref open = error < 0 ? files.IfOpen(which) : nullptr;
    if (open != nullptr) {
      XZFS_RETURN_IF_ERROR(CopyFile(files, *open, folder, to));
    } else if (error < 0) {
      moved = which == OverlayFiles::kData ? OverlayMove::kNothing : moved;
    }
  }
  files.Forget();
  return moved;
}

}  // namespace xzfs
