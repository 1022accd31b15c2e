// check_tree FOLDER: decodes every .xz file below a folder, and says which bytes cannot be had.
#include <xzfs/reader.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <vector>

namespace {

namespace fs = std::filesystem;

// Prints what is damaged, and returns whether all can be read.
bool Check(const fs::path& path, const xzfs::ReadCache& cache) {
  const auto reader = xzfs::Reader::Open(path, cache);
  if (!reader) {
    std::cout << reader.error().message << "\n";
    return false;
  }
  bool is_whole = true;
  for (uint64_t number = 0; number < reader->index().block_count(); ++number) {
    const xzfs::BlockInfo block = reader->index().Block(number);
    const auto plain = reader->Read(block.plain_offset, block.plain_size);
    if (!plain) {
      const bool is_damaged = plain.error().kind == xzfs::ErrorKind::kDamaged;
      std::cout << path.string() << ": bytes " << block.plain_offset << " to "
                << block.plain_offset + block.plain_size
                << (is_damaged ? " are damaged" : ": " + plain.error().message) << "\n";
      is_whole = false;
    }
  }
  return is_whole;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "check_tree FOLDER\n";
    return 2;
  }
  // One cache for all files. They may be anybody's: none gets more than 1 GiB for its decoder.
  const auto cache = xzfs::ReadCache::Create({.memory_limit_bytes = uint64_t{1} << 30});
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(argv[1])) {
    if (entry.is_regular_file() && entry.path().extension() == ".xz") {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  const auto whole = std::count_if(
      paths.begin(), paths.end(), [&](const fs::path& path) { return Check(path, cache.value()); });
  std::cout << whole << " of " << paths.size() << " files are whole\n";
  return whole == std::ssize(paths) ? 0 : 1;
} catch (const std::exception& error) {  // of std::filesystem, or of value()
  std::cerr << error.what() << "\n";
  return 1;
}
