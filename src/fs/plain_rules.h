// Which plain files stay plain.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "fs/node.h"
#include "store/saving.h"
#include "store/unshrinkable_files.h"

namespace xzfs {

struct Options;

// The path in the mount of the file that is stored at `stored`.
std::string AsShown(const std::string& stored, StoredKind kind);

// The mount's rules. They don't look into a file: whether it would shrink is what a commit noted.
// Thread-safe.
class PlainRules {
 public:
  // Both outlive the rules.
  PlainRules(const Options& options, UnshrinkableFiles& unshrinkable);

  // The rule that keeps the plain file at the path `stored` plain, or nothing.
  std::optional<std::string> WhyPlain(const std::string& stored, const struct stat& st) const;
  // The same without min_saving.
  std::optional<std::string> WhyKept(const std::string& stored, const struct stat& st) const;
  // Whether it is known that compressing the file would save less than min_saving.
  bool WouldNotShrink(const std::string& stored, const struct stat& st) const;

  SavingRule saving() const { return SavingRule(least_saving_.load(std::memory_order_relaxed)); }
  // The option min_saving has another value from now on.
  void SetLeastSaving(double least);
  // What commits noted. Commits add to it.
  UnshrinkableFiles& unshrinkable() const { return unshrinkable_; }

 private:
  const Options& options_;
  UnshrinkableFiles& unshrinkable_;
  std::atomic<double> least_saving_;
};

}  // namespace xzfs
