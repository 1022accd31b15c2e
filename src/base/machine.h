// The limits of the machine, or of the container that we are in.
#pragma once

#include <cstdint>
#include <string>

namespace xzfs {

// Physical memory or the memory limit of our cgroup (version 1 or 2), whichever is less, in bytes.
uint64_t UsableMemory();

// The number of processors that we may use: our affinity mask and our cgroup's CPU quota, rounded
// up. At least 1.
unsigned UsableProcessors();

// The same, with /proc and /sys below `root`. For tests.
uint64_t UsableMemory(const std::string& root);
unsigned UsableProcessors(const std::string& root);

// Where large temporary files belong: $TMPDIR if that is an absolute path, else /var/tmp.
std::string TemporaryFolder();
// How many bytes we may still write to the file system that holds `folder`; 0 if that isn't known.
uint64_t FreeSpace(const std::string& folder);

// Raises the soft limit of open descriptors to the hard limit and returns it.
uint64_t RaiseDescriptorLimit();

// The id of this boot of the system; empty if the system doesn't give one.
std::string BootId();

}  // namespace xzfs
