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
  // Says what it takes: options and operands, which are members of the object.
  virtual void Declare(Arguments& arguments) = 0;
  // Does it. What goes wrong with one file is said by `console`, and the next one is taken; an
  // error that is returned is said by the caller and ends all.
  virtual Status Run(Console& console) = 0;
};

}  // namespace xzfs
