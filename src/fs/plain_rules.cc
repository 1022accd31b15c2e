#include "fs/plain_rules.h"

#include <fnmatch.h>
#include <linux/limits.h>

#include "base/identity.h"
#include "fs/options.h"
#include "store/names.h"

namespace xzfs {

std::string AsShown(const std::string& stored, StoredKind kind) {
  const size_t begin = stored.rfind('/') + 1;
  const std::string name = stored.substr(begin);
  const auto stripped = kind == StoredKind::kCompressed ? StripSuffix(name) : std::nullopt;
  return stored.substr(0, begin) +
         (stripped ? stripped->logical : StripEscape(name).value_or(name));
}

PlainRules::PlainRules(const Options& options, UnshrinkableFiles& unshrinkable)
    : options_(options),
      unshrinkable_(unshrinkable),
      least_saving_(options.min_saving_percent / 100) {}

void PlainRules::SetLeastSaving(double least) {
  if (least < least_saving_.exchange(least, std::memory_order_relaxed)) {
    unshrinkable_.Clear();
  }
}

bool PlainRules::WouldNotShrink(const std::string& stored, const struct stat& st) const {
  const SavingRule rule = saving();
  return rule.least() != 0 && SavingRule::IsFor(stored.substr(stored.rfind('/') + 1)) &&
         (rule.IsHopeless(st) || unshrinkable_.Has(Identity::Of(st)));
}

std::optional<std::string> PlainRules::WhyPlain(const std::string& stored,
                                                const struct stat& st) const {
  if (auto why = WhyKept(stored, st)) {
    return why;
  }
  if (!WouldNotShrink(stored, st)) {
    return std::nullopt;
  }
  return saving().IsHopeless(st) ? "it has only one disk block, so compressing it saves nothing"
                                 : "compressing it would save less than min_saving";
}

std::optional<std::string> PlainRules::WhyKept(const std::string& stored,
                                               const struct stat& st) const {
  if (st.st_nlink > 1) {
    return "it has several names";
  }
  if ((st.st_mode & (S_ISUID | S_ISGID)) != 0) {
    return "it has a set-id bit";
  }
  if (static_cast<uint64_t>(st.st_size) < options_.min_size_bytes) {
    return "it is smaller than min_size";
  }
  const std::string path = AsShown(stored, StoredKind::kPlain);
  const std::string file = path.substr(path.rfind('/') + 1);
  if (CompressedNameOf(file, Format::kXz).size() > NAME_MAX) {
    return "its name is too long to be stored with .xz behind it";
  }
  for (const std::string& glob : options_.excludes) {
    // A glob with a slash is matched with the path, one without with the name.
    const std::string& subject = glob.find('/') == std::string::npos ? file : path;
    const char* const pattern = glob.c_str() + (glob.starts_with('/') ? 1 : 0);
    if (fnmatch(pattern, subject.c_str(), FNM_PATHNAME) == 0) {
      return "exclude=" + glob;
    }
  }
  return std::nullopt;
}

}  // namespace xzfs
