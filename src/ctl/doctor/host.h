// Whether this machine can run mounts.
#pragma once

#include <string>

#include "base/fuse_host.h"
#include "ctl/doctor/finding.h"

namespace xzfs {

// What the checks look at; tests replace it.
struct DoctorHost {
  FuseHost fuse;
  std::string proc = "/proc";
  // The program xzfs, which is asked for its version (-V); empty if there is none.
  std::string xzfs;

  static DoctorHost Real();
};

// Looks at the versions, the kernel, FUSE and the limits. Changes nothing.
Findings LookAtHost(const DoctorHost& host);

}  // namespace xzfs
