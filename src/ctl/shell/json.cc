#include "ctl/shell/json.h"

namespace xzfs {
namespace {

constexpr int kSchema = 1;

std::string Dump(const Json& json, Json::error_handler_t handler) {
  return json.dump(-1, ' ', false, handler);
}

bool IsUtf8(const std::string& text) {
  return Dump(Json(text), Json::error_handler_t::ignore).size() ==
         Dump(Json(text), Json::error_handler_t::replace).size();
}

}  // namespace

Json NewDocument(const std::string& command) {
  Json json;
  json["schema"] = kSchema;
  json["command"] = command;
  return json;
}

void PutPath(Json& json, const std::string& path) {
  json["path"] = path;
  if (!IsUtf8(path)) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string hex;
    for (const char c : path) {
      const auto byte = static_cast<unsigned char>(c);
      hex += {kDigits[byte >> 4], kDigits[byte & 15]};
    }
    json["path_hex"] = hex;
  }
}

void PrintJson(Console& console, const Json& document) {
  console.Print(Dump(document, Json::error_handler_t::replace) + "\n");
}

}  // namespace xzfs
