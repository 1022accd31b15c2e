// What every command takes.
#pragma once

#include "ctl/shell/arguments.h"

namespace xzfs {

struct CommonOptions {
  unsigned quiet = 0;
  bool no_warn = false;

  void Declare(Arguments& arguments) {
    arguments.Count("-q,--quiet", quiet, "no notes and warnings; twice: no errors either");
    arguments.Flag("-Q,--no-warn", no_warn, "warnings don't make the exit code 2");
  }
};

}  // namespace xzfs
