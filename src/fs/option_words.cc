#include "fs/option_words.h"

#include <algorithm>
#include <iterator>

namespace xzfs {
namespace {

constexpr std::string_view kForFstab[] = {"defaults", "nofail",  "_netdev", "auto",   "noauto",
                                          "user",     "nouser",  "users",   "owner",  "group",
                                          "comment",  "nogroup", "noowner", "nousers"};

// These ask for what xzfs always does: a mountpoint need not be empty, the kernel's cache is used
// where it is right, and inode numbers are the source's, in listings, too.
constexpr std::string_view kAnyway[] = {"nonempty",    "kernel_cache", "auto_cache", "use_ino",
                                        "readdir_ino", "big_writes",   "large_read", "subtype"};

struct Advice {
  std::string_view name;
  std::string_view words;
};

constexpr std::string_view kOwners =
    "files keep the owners and modes that they have in the source; allow_other lets other users "
    "in, each with their own rights; to show other owners, use bindfs";

constexpr Advice kAdvice[] = {
    {"uid", kOwners},
    {"gid", kOwners},
    {"umask", kOwners},
    {"fmask", kOwners},
    {"dmask", kOwners},
    {"allow_root", "use allow_other; the modes of the files then decide what each user may do"},
    {"auto_unmount", "a signal unmounts; xzfsctl umount removes the mount of a killed daemon"},
    {"fsname", "the mount table shows the source"},
    {"max_read", "the kernel chooses the sizes of reads"},
    {"max_write", "the kernel chooses the sizes of writes"},
    {"direct_io", "programs that want to bypass the kernel's cache open files with O_DIRECT"}};

template <size_t kCount>
bool Has(const std::string_view (&words)[kCount], std::string_view name) {
  return std::find(std::begin(words), std::end(words), name) != std::end(words);
}

}  // namespace

bool IsForOthers(std::string_view name) {
  return Has(kForFstab, name) || Has(kAnyway, name) || name.starts_with("x-") ||
         name.starts_with("X-");
}

std::string_view AdviceFor(std::string_view name) {
  for (const Advice& advice : kAdvice) {
    if (advice.name == name) {
      return advice.words;
    }
  }
  return {};
}

}  // namespace xzfs
