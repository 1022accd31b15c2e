// xzfsctl: works on .xz files and on mounts of xzfs.
#include "ctl/shell/run.h"

int main(int argc, char** argv) { return xzfs::RunCtl({argv + 1, argv + argc}); }
