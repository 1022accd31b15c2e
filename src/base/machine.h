// What the machine (or the container that we are in) allows us.
#pragma once

#include <cstdint>
#include <string>

namespace xzfs {

// Physical memory or the memory limit of our cgroup (version 1 or 2), whichever is less, in bytes.
uint64_t UsableMemory();

// Processors that we may run on: our affinity mask and our cgroup's CPU quota, rounded up. At
// least 1.
unsigned UsableProcessors();

// The same with /proc and /sys looked for beneath `root`, for tests.
uint64_t UsableMemory(const std::string& root);
unsigned UsableProcessors(const std::string& root);

// Where large temporary files belong: $TMPDIR if that is an absolute path, else /var/tmp.
std::string TemporaryFolder();
// What we may still write to the file system that holds `folder`, in bytes; 0 if that can't be
// known.
uint64_t FreeSpace(const std::string& folder);

// Raises the soft limit of open descriptors to the hard limit and returns it.
uint64_t RaiseDescriptorLimit();

// Of this boot of the system; empty if it doesn't tell.
std::string BootId();

}  // namespace xzfs
