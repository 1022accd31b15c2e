#include "base/shared_filesystem.h"

#include <cstdint>
#include <utility>

namespace xzfs {

std::string_view SharedFilesystem(long type) {
  // <linux/magic.h> has some of them; the others are what their modules answer.
  constexpr std::pair<uint32_t, std::string_view> kKnown[] = {
      {0x65735546, "FUSE"},     {0x6969, "NFS"},        {0xFF534D42, "CIFS"},
      {0xFE534D42, "SMB"},      {0x517B, "SMB"},        {0x01021997, "9P"},
      {0x00C36400, "CephFS"},   {0x5346414F, "AFS"},    {0x6B414653, "AFS"},
      {0x73757245, "Coda"},     {0x7461636F, "OCFS2"},  {0x01161970, "GFS2"},
      {0x0BD00BD0, "Lustre"},   {0x47504653, "GPFS"},   {0x19830326, "BeeGFS"},
      {0x20030528, "OrangeFS"}, {0x564C, "NCP"},        {0xAAD7AAEA, "PanFS"},
      {0xBEEFDEAD, "StorNext"}, {0x786F4256, "vboxsf"}, {0xBACBACBC, "vmhgfs"},
      {0x7C7C6673, "prl_fs"},   {0x61636673, "ACFS"},   {0x013111A8, "IBRIX"}};
  for (const auto& [magic, name] : kKnown) {
    // f_type is signed, and on some machines 32 bits wide.
    if (static_cast<uint32_t>(type) == magic) {
      return name;
    }
  }
  return {};
}

}  // namespace xzfs
