// Stored names and logical names: the rules that need no look at the files.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xzfs/block_index.h"

namespace xzfs {

// The compressed formats by the suffix of the stored name.
enum class Suffix { kXz, kLzma, kLz, kTxz, kTlz };

struct StrippedName {
  std::string logical;
  Suffix suffix;
};

// The logical name of a stored name that says it is compressed: "a.log.xz" -> "a.log",
// "a.txz" -> "a.tar". Nothing if it has no such suffix or if nothing sensible would be left (".xz",
// "...xz"). Names are bytes.
std::optional<StrippedName> StripSuffix(std::string_view stored);

// The stored names that would be shown as `logical`, most important first: N.xz, then for a .tar
// its .txz, then the legacy formats. Names that would exceed NAME_MAX are left out.
std::vector<std::string> CompressedNamesOf(std::string_view logical);

// What is not compressed and is to be shown as `logical` is stored under this name, if need be:
// `logical` itself, or that with kEscapeSuffix if it would be read as a compressed file's name, or
// as an escaped one.
std::string PlainNameOf(std::string_view logical);

// The logical name of a stored name that PlainNameOf escaped; nothing for every other name.
std::optional<std::string> StripEscape(std::string_view stored);

inline constexpr std::string_view kEscapeSuffix = ".xzhot";

// The name under which a compressed file of `format` is stored that is shown as `logical`.
std::string CompressedNameOf(std::string_view logical, Format format);

// What a symlink that is stored as `L.xz` and shown as `L` points to: `target` without its ".xz".
// Nothing if it doesn't end that way; such a symlink is shown as it is.
std::optional<std::string> StripLinkTarget(std::string_view target);

// A logical name that is so much shorter than the longest stored one is that of a compressed file:
// with ".xz" added it still is a name.
inline constexpr size_t kSuffixReserveBytes = 3;
// And so much shorter, it can be stored in every state, whatever it ends in.
inline constexpr size_t kWritableReserveBytes = kEscapeSuffix.size();

// The source's own folder, at its root.
inline constexpr std::string_view kPrivateFolder = ".xzfs";
// Of all that is made in it: nobody but the owner looks in.
inline constexpr mode_t kPrivateFolderMode = 0700;
inline constexpr mode_t kPrivateFileMode = 0600;

}  // namespace xzfs
