// xzfsctl: works on .xz files and on mounts of xzfs.
#include <clocale>

#include "ctl/shell/run.h"

int main(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "");  // how wide characters are
  return xzfs::RunCtl({argv + 1, argv + argc});
}
