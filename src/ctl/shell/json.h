// What commands print with --json.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "ctl/shell/console.h"

namespace xzfs {

// A file that looks into one includes <nlohmann/json.hpp>, which is larger than all other headers
// together. So a header includes it only if it holds one.
using Json = nlohmann::ordered_json;

// A document of the command: {"schema": N, "command": ...}. N goes up when a field of any command
// changes its meaning or is removed; new fields may come at any time. docs/json.md has the words,
// and docs/json.schema.json all fields.
Json NewDocument(const std::string& command);

// Puts a file's name under "path". JSON is UTF-8 and names are bytes: what isn't UTF-8 is shown as
// U+FFFD, and then all bytes are under "path_hex".
void PutPath(Json& json, const std::string& path);

// compressed / plain as xz -l has it; null for an empty file.
Json RatioJson(uint64_t compressed_bytes, uint64_t plain_bytes);

// One line, and a newline.
void PrintJson(Console& console, const Json& json);

// The same for a document, with "errors": the files that failed, as the console was told.
void PrintDocument(Console& console, Json document);
std::string DocumentText(const Console& console, Json document);

}  // namespace xzfs
