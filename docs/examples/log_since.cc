// log_since LOG.xz TIME COUNT: the lines of a log from TIME on. Each line begins with its time, so
// they are sorted, and a line is found by halving: a few Blocks are decoded, however large the log.
#include <xzfs/input_stream.h>
#include <xzfs/reader.h>

#include <cstdlib>
#include <iostream>
#include <string>

namespace {

// Goes to the first line that begins at or after `offset`.
void GoToLine(xzfs::InputStream& log, std::streamoff offset) {
  log.clear();
  log.seekg(offset == 0 ? 0 : offset - 1);
  if (std::string rest; offset != 0) {
    std::getline(log, rest);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "log_since LOG.xz TIME COUNT\n";
    return 2;
  }
  auto reader = xzfs::Reader::Open(argv[1]);
  if (!reader) {
    std::cerr << reader.error().message << "\n";
    return 1;
  }
  std::cout << reader->size() << " bytes in " << reader->index().block_count() << " Blocks\n";
  std::streamoff low = 0;
  auto high = static_cast<std::streamoff>(reader->size());
  xzfs::InputStream log(*std::move(reader));
  std::string line;
  while (low < high) {
    const std::streamoff middle = low + (high - low) / 2;
    GoToLine(log, middle);
    if (std::getline(log, line) && line < argv[2]) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  GoToLine(log, low);
  for (int left = std::atoi(argv[3]); left > 0 && std::getline(log, line); --left) {
    std::cout << line << "\n";
  }
  if (log.error()) {  // a damaged Block on the way, say
    std::cerr << log.error()->message << "\n";
    return 1;
  }
}
