#include "ctl/commands.h"

namespace xzfs {
namespace {

constexpr CommandEntry kCommands[] = {
    {"list", "Shows what compressed files hold and how seekable they are.",
     "  xzfsctl list -v disk.img.xz", MakeListCommand},
};

}  // namespace

std::span<const CommandEntry> Commands() { return kCommands; }

const CommandEntry* FindCommand(std::string_view name) {
  for (const CommandEntry& entry : kCommands) {
    if (entry.name == name) {
      return &entry;
    }
  }
  return nullptr;
}

}  // namespace xzfs
