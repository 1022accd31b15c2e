// append_lines LOG.xz: appends its input. The log is one Stream of full Blocks however often this
// is done, and is whole at any time: it is replaced when the new one is on the disk.
#include <xzfs/writer.h>

#include <iostream>
#include <string>

namespace {

xzfs::Status AppendLines(std::istream& lines, const std::filesystem::path& log) {
  auto writer = xzfs::Writer::Append(log);
  if (!writer) {
    return xzfs::Failure(writer.error());
  }
  for (std::string line; std::getline(lines, line);) {
    if (auto written = writer->Write(line + "\n"); !written) {
      return written;
    }
  }
  return writer->Close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "append_lines LOG.xz\n";
    return 2;
  }
  xzfs::Status done = AppendLines(std::cin, argv[1]);
  // Another program appended to it, or replaced it, at the same time.
  if (!done && done.error().kind == xzfs::ErrorKind::kChanged) {
    std::cerr << "nothing was appended: ";
  }
  if (!done) {
    std::cerr << done.error().message << "\n";
    return 1;
  }
}
