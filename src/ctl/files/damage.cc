#include "ctl/files/damage.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/fail.h"
#include "xz/block_name.h"

namespace xzfs {

bool IsDamage(const Error& error) { return error.kind == ErrorKind::kDamaged; }

Error DamageIn(const BlockInfo& block, Error error) {
  error.message = NameOf(block) + ": " + error.message;
  if (IsDamage(error)) {
    error.message += "; xzfsctl verify lists all damage, and xzfsctl salvage saves the rest";
  }
  return error;
}

Error DamageOfIndex(Format format, Error error) {
  if (IsDamage(error) && format == Format::kXz) {
    error.message += "; xzfsctl salvage saves what can be read";
  }
  return error;
}

Result<size_t> BlockNamingFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  Result<size_t> got = file_.ReadAt(offset, out);
  if (got || !IsOfContent(got.error())) {
    return got;
  }
  const uint64_t stop = offset + std::min<uint64_t>(out.size(), size() - offset);
  for (uint64_t at = offset; at < stop;) {
    const BlockInfo block = index_.Find(at);
    const uint64_t end = std::min(stop, block.plain_offset + block.plain_size);
    Result<size_t> part = file_.ReadAt(at, out.subspan(at - offset, end - at));
    if (!part) {
      return Failure(DamageIn(block, std::move(part.error())));
    }
    at = end;
  }
  return got;
}

}  // namespace xzfs
