// Which plain files stay plain.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "fs/node.h"

namespace xzfs {

struct Options;

// The path in the mount of the file that is stored at `stored`.
std::string AsShown(const std::string& stored, StoredKind kind);

// The mount's rules. Thread-safe.
class PlainRules {
 public:
  explicit PlainRules(const Options& options) : options_(options) {}

  // The rule that keeps the plain file at the path `stored` plain, or nothing.
  std::optional<std::string> WhyPlain(const std::string& stored, const struct stat& st) const;

 private:
  const Options& options_;
};

}  // namespace xzfs
