#include "fs/inode_numbers.h"

#include "base/identity.h"

namespace xzfs {
namespace {

constexpr unsigned kInodeBits = 48;
constexpr uint64_t kOtherDevice = uint64_t{1} << 62;
constexpr uint64_t kMixed = uint64_t{3} << 62;
constexpr uint64_t kTagCount = kOtherDevice >> kInodeBits;  // 16,384 file systems

uint64_t Mix(uint64_t h) {
  h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9U;
  h = (h ^ (h >> 27)) * 0x94D049BB133111EBU;
  return h ^ (h >> 31);
}

}  // namespace

uint64_t InodeNumbers::Of(const FileId& file) {
  if (file.device == root_device_ && file.inode < kOtherDevice) {
    return file.inode;
  }
  if (file.device != root_device_ && file.inode >> kInodeBits == 0) {
    if (const uint64_t tag = TagOf(file.device); tag < kTagCount) {
      return kOtherDevice | tag << kInodeBits | file.inode;
    }
  }
  return kMixed | Mix(Mix(file.inode) + file.device);
}

// kTagCount if there are too many.
uint64_t InodeNumbers::TagOf(uint64_t device) {
  MutexLock lock(mutex_);
  const auto known = tags_.find(device);
  if (known != tags_.end()) {
    return known->second;
  }
  const uint64_t tag = tags_.size();
  if (tag < kTagCount) {
    tags_.emplace(device, tag);
  }
  return tag;
}

}  // namespace xzfs
