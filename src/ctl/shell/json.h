// What commands print with --json.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ctl/shell/console.h"

namespace xzfs {

// A file that looks into one includes <nlohmann/json.hpp>, which is larger than all other headers
// together. So a header includes it only if it holds one.
using Json = nlohmann::ordered_json;

// A document of the command: {"schema": N, "command": ...}. N goes up when a field of any command
// changes its meaning or is removed; new fields may come at any time.
Json NewDocument(const std::string& command);

// Puts a file's name under "path". JSON is UTF-8 and names are bytes: what isn't UTF-8 is shown as
// U+FFFD, and then all bytes are under "path_hex".
void PutPath(Json& json, const std::string& path);

// One line, and a newline.
void PrintJson(Console& console, const Json& document);

}  // namespace xzfs
