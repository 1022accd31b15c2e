#include "ctl/files/file_sizes.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "ctl/files/input.h"
#include "ctl/mounts/mount_client.h"
#include "store/names.h"

namespace xzfs {
namespace {

constexpr uint64_t kStatBlockBytes = 512;

// The file's own sizes are those that are asked for: only its state is missing.
bool IsCompressedInMount(Console& console, const FoundFile& file) {
  const std::optional<Json> info = FileInfo(file.path());
  if (!info) {
    return false;
  }
  if (info->contains("damaged")) {
    console.FileWarning(file.path(), file.path() + ": " + info->value("damaged", ""));
  }
  return info->value("state", "plain") != "plain" && info->contains("ratio");
}

}  // namespace

FileSizes SizesOf(Console& console, const FoundFile& file) {
  FileSizes sizes;
  sizes.files = 1;
  sizes.plain_bytes = static_cast<uint64_t>(file.attributes.st_size);
  sizes.disk_bytes = static_cast<uint64_t>(file.attributes.st_blocks) * kStatBlockBytes;
  if (file.dir->in_mount) {
    sizes.compressed_files = IsCompressedInMount(console, file) ? 1 : 0;
    return sizes;
  }
  if (!StripSuffix(file.name)) {
    return sizes;
  }
  const Result<Input> input = OpenInput(Os::Real(), file.path());
  const auto compressed = input ? CompressedNameOf(file.name, *input->stored)
                                : Result<std::optional<CompressedName>>(std::nullopt);
  if (!compressed || !*compressed) {
    return sizes;
  }
  const Result<BlockIndex> index = ReadIndexOf(*input);
  if (!index) {
    console.FileWarning(file.path(), index.error().message);
    return sizes;
  }
  sizes.compressed_files = 1;
  sizes.plain_bytes = index->plain_size();
  return sizes;
}

}  // namespace xzfs
