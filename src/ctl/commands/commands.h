// All commands of xzfsctl.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "ctl/commands/command.h"

namespace xzfs {

struct CommandEntry {
  std::string_view name;
  std::string_view summary;  // one line
  std::string_view example;  // for its --help, each line indented by two
  std::unique_ptr<Command> (*make)();
};

// In the order of the help.
std::span<const CommandEntry> Commands();
// Null if there is none of that name.
const CommandEntry* FindCommand(std::string_view name);

std::unique_ptr<Command> MakeReblockCommand();
std::unique_ptr<Command> MakeVerifyCommand();
std::unique_ptr<Command> MakeSalvageCommand();
std::unique_ptr<Command> MakeListCommand();
std::unique_ptr<Command> MakeCatCommand();
std::unique_ptr<Command> MakeDuCommand();
std::unique_ptr<Command> MakeInfoCommand();
std::unique_ptr<Command> MakePackCommand();
std::unique_ptr<Command> MakeUnpackCommand();
std::unique_ptr<Command> MakeStatsCommand();
std::unique_ptr<Command> MakeTopCommand();
std::unique_ptr<Command> MakeReportCommand();
std::unique_ptr<Command> MakeSetCommand();
std::unique_ptr<Command> MakeSyncCommand();
std::unique_ptr<Command> MakeDropCacheCommand();
std::unique_ptr<Command> MakeUmountCommand();
std::unique_ptr<Command> MakeDoctorCommand();
std::unique_ptr<Command> MakeBenchCommand();

}  // namespace xzfs
