#include "ctl/shell/json.h"

#include <fmt/core.h>
#include <utf8.h>

#include <nlohmann/json.hpp>

namespace xzfs {
namespace {

constexpr int kSchema = 1;

}  // namespace

Json NewDocument(const std::string& command) {
  Json json;
  json["schema"] = kSchema;
  json["command"] = command;
  return json;
}

void PutPath(Json& json, const std::string& path) {
  json["path"] = path;
  if (!utf8::is_valid(path.begin(), path.end())) {
    std::string hex;
    for (const char c : path) {
      hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
    json["path_hex"] = hex;
  }
}

void PrintJson(Console& console, const Json& document) {
  console.Print(document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace xzfs
