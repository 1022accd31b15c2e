// A file that gets its name when it is complete.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <utility>

#include "base/os.h"
#include "xzfs/result.h"

namespace xzfs {

// The file is written beside the name that it is to get, under a temporary name. If it doesn't get
// its name it is removed. Not thread-safe. Movable.
class AtomicFile {
 public:
  // A symlink is followed. Errors: EINVAL if there is something that isn't a regular file; what the
  // system said.
  static Result<AtomicFile> Create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  // Open for reading and writing.
  int fd() const { return file_.get(); }
  // The file that is replaced, as Create found it; nothing if the name is new.
  const std::optional<struct stat>& replaced() const { return replaced_; }
  struct PublishOptions {
    bool sync = true;      // the file and its name are on the disk when Publish returns
    bool replaces = true;  // false: Publish fails with EEXIST if the name is taken
  };
  // Gives the file its name.
  Status Publish(const PublishOptions& options);

 private:
  AtomicFile(Descriptor folder, std::string folder_path, std::string name)
      : folder_(std::move(folder)), folder_path_(std::move(folder_path)), name_(std::move(name)) {}
  Status Open();

  Descriptor folder_;
  std::string folder_path_;
  std::string name_;
  std::string temp_name_;  // empty: there is none any more
  Descriptor file_;
  std::optional<struct stat> replaced_;
};

}  // namespace xzfs
