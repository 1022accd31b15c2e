// read_part FILE.xz OFFSET: 4 KiB of the plain bytes, from OFFSET on. Only the Blocks that they are
// in are decoded.
#include <xzfs/reader.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "read_part FILE.xz OFFSET\n";
    return 2;
  }
  const auto reader = xzfs::Reader::Open(argv[1]);
  if (!reader) {
    std::cerr << reader.error().message << "\n";
    return 1;
  }
  const auto part = reader->Read(std::strtoull(argv[2], nullptr, 10), 4096);
  if (!part) {
    std::cerr << part.error().message << "\n";
    return 1;
  }
  std::cout << xzfs::TextOf(*part);
}
