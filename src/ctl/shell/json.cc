#include "ctl/shell/json.h"

#include <fmt/core.h>
#include <utf8.h>

#include <nlohmann/json.hpp>
#include <utility>

namespace xzfs {
namespace {

constexpr int kSchema = 2;

std::string Text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
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
  if (!utf8::is_valid(path.begin(), path.end())) {
    std::string hex;
    for (const char c : path) {
      hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    }
    json["path_hex"] = hex;
  }
}

Json RatioJson(uint64_t compressed_bytes, uint64_t plain_bytes) {
  return plain_bytes == 0
             ? Json(nullptr)
             : Json(static_cast<double>(compressed_bytes) / static_cast<double>(plain_bytes));
}

void PrintJson(Console& console, const Json& json) { console.Print(Text(json)); }

void PrintDocument(Console& console, Json document) {
  console.Print(DocumentText(console, std::move(document)));
}

std::string DocumentText(const Console& console, Json document) {
  document["errors"] = Json::array();
  for (const auto& [path, message] : console.failures()) {
    Json error;
    PutPath(error, path);
    error["message"] = message;
    document["errors"].push_back(std::move(error));
  }
  return Text(document);
}

}  // namespace xzfs
