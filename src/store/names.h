// Stored names and logical names: the rules of docs/format.md, "Names", that don't depend on the
// files' content.
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

// The logical name of a stored name that says it is compressed: "a.log.xz" -> "a.log", "a.txz" ->
// "a.tar". Nothing if it has no such suffix, or if no sensible name would be left (".xz", "...xz").
// Names are bytes.
std::optional<StrippedName> StripSuffix(std::string_view stored);

// The stored names of compressed files that would be shown as `logical`, most important first.
// Names that would exceed NAME_MAX are left out.
std::vector<std::string> CompressedNamesOf(std::string_view logical);

// The stored name of a file that is not compressed and is shown as `logical`: with kEscapeSuffix if
// it needs that.
std::string PlainNameOf(std::string_view logical);

// The logical name of a stored name that PlainNameOf escaped; nothing for every other name.
std::optional<std::string> StripEscape(std::string_view stored);

inline constexpr std::string_view kEscapeSuffix = ".xzhot";

// The stored name of a compressed file of `format` that is shown as `logical`.
std::string CompressedNameOf(std::string_view logical, Format format);

// The shown target of a symlink that is stored as `L.xz` and shown as `L`: `target` without its
// ".xz". Nothing if `target` has no such end; such a symlink is shown as it is.
std::optional<std::string> StripLinkTarget(std::string_view target);

// A logical name of at most this length can have a compressed file: with ".xz" it is no longer than
// a name may be.
inline constexpr size_t kSuffixReserveBytes = 3;
// A logical name of at most this length can be stored in every state, whatever it ends in.
inline constexpr size_t kWritableReserveBytes = kEscapeSuffix.size();

// The folder of xzfs in the source.
inline constexpr std::string_view kPrivateFolder = ".xzfs";
// The modes of all that is made in it: only the owner may look in.
inline constexpr mode_t kPrivateFolderMode = 0700;
inline constexpr mode_t kPrivateFileMode = 0600;

}  // namespace xzfs
