// One command of xzfsctl.
#pragma once

#include "ctl/shell/arguments.h"
#include "ctl/shell/console.h"
#include "xzfs/result.h"

namespace xzfs {

// Made for one run.
class Command {
 public:
  virtual ~Command() = default;
  // Declares what it takes: options and operands, which are members of the object.
  virtual void Declare(Arguments& arguments) = 0;
  // Runs it. If something goes wrong with one file, the command tells `console` and takes the next
  // one. An error that is returned ends the command, and the caller reports it.
  virtual Status Run(Console& console) = 0;
};

}  // namespace xzfs
