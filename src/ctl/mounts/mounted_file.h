// The stored form of a compressed file, read through the mount that shows it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/unique_fd.h"
#include "xzfs/random_access_file.h"
#include "xzfs/result.h"

namespace xzfs {

// Reads the bytes of the `.xz` file itself, without the changes that are pending. It needs no
// access to the source, which may be hidden below the mount, and works on damaged files, which
// can't be opened. Thread-safe. ReadAt fails with ESTALE if the stored file was replaced meanwhile.
class MountedFile : public RandomAccessFile {
 public:
  enum class State { kPlain, kCompressed, kEdited };

  // Nothing if `path` is not in a mount of xzfs. Errors: what opening says; EPROTO if the mount is
  // of another version.
  static Result<std::unique_ptr<MountedFile>> Open(const std::string& path);

  State state() const { return state_; }
  const std::string& stored_name() const { return stored_name_; }
  int fd() const { return file_.get(); }  // of O_PATH

  // REQUIRES: not kPlain.
  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) const override;
  uint64_t size() const override { return size_; }

 private:
  MountedFile(UniqueFd file, std::string name) : file_(std::move(file)), path_(std::move(name)) {}

  const UniqueFd file_;
  const std::string path_;  // for messages
  State state_ = State::kPlain;
  std::string stored_name_;
  std::string version_;
  uint64_t size_ = 0;
};

}  // namespace xzfs
