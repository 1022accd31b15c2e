// The library as tests/lib/test_python_lzma.py asks it: a JSON object a line on stdin, one a line
// on stdout. Bytes are hexadecimal; formats, Checks and filters are Python's.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "xzfs/compress.h"

namespace {

using nlohmann::json;
using namespace xzfs;

Bytes FromHex(const std::string& text) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string ToHex(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

json ToJson(const Error& error) { return {{"error", error.code}, {"message", error.message}}; }

json ToJson(const Result<Bytes>& bytes) {
  return bytes ? json{{"data", ToHex(*bytes)}} : ToJson(bytes.error());
}

Format FormatOf(const json& request) {
  static constexpr Format kFormats[] = {Format::kAuto, Format::kXz, Format::kLzmaAlone,
                                        Format::kRaw};
  return kFormats[request.at("format").get<unsigned>()];
}

template <class Field>
void Set(const json& from, const char* key, Field& to) {
  if (from.contains(key)) {
    to = static_cast<typename Field::value_type>(from.at(key).get<uint32_t>());
  }
}

template <class Lzma>
Lzma LzmaOf(const json& spec) {
  constexpr uint32_t kPresetExtreme = uint32_t{1} << 31;
  const uint32_t preset = spec.value("preset", 6U);
  Lzma filter{.preset = preset & ~kPresetExtreme, .extreme = (preset & kPresetExtreme) != 0};
  Set(spec, "dict_size", filter.dictionary_bytes);
  Set(spec, "lc", filter.literal_context_bits);
  Set(spec, "lp", filter.literal_position_bits);
  Set(spec, "pb", filter.position_bits);
  Set(spec, "mode", filter.mode);
  Set(spec, "nice_len", filter.nice_length);
  Set(spec, "mf", filter.match_finder);
  Set(spec, "depth", filter.depth);
  return filter;
}

Filter FilterOf(const json& spec) {
  constexpr uint64_t kDelta = 0x03;
  constexpr uint64_t kLzma2 = 0x21;
  constexpr uint64_t kLzma1 = 0x4000000000000001;
  switch (const uint64_t id = spec.at("id").get<uint64_t>()) {
    case kLzma2:
      return LzmaOf<Lzma2>(spec);
    case kLzma1:
      return LzmaOf<Lzma1>(spec);
    case kDelta:
      return Delta{.distance_bytes = spec.value("dist", 1U)};
    default:
      return Bcj{.machine = static_cast<Machine>(id),
                 .start_offset = spec.value("start_offset", 0U)};
  }
}

std::vector<Filter> FiltersOf(const json& request) {
  std::vector<Filter> filters;
  for (const json& spec : request.value("filters", json::array())) {
    filters.push_back(FilterOf(spec));
  }
  return filters;
}

CompressOptions CompressOptionsOf(const json& request) {
  CompressOptions options;
  options.format = FormatOf(request);
  options.preset = request.value("preset", 6U);
  options.extreme = request.value("extreme", false);
  if (request.value("check", -1) >= 0) {
    options.check = static_cast<Check>(request.at("check").get<int>());
  }
  options.filters = FiltersOf(request);
  return options;
}

DecompressOptions DecompressOptionsOf(const json& request) {
  DecompressOptions options;
  options.format = FormatOf(request);
  options.filters = FiltersOf(request);
  options.concatenated = request.value("concatenated", true);
  if (request.contains("memlimit")) {
    options.memory_limit_bytes = request.at("memlimit").get<uint64_t>();
  }
  return options;
}

// Each of "pieces" is [compressed, the most that may come out].
json Decompressing(const json& request) {
  auto decompressor = Decompressor::Create(DecompressOptionsOf(request));
  if (!decompressor) {
    return ToJson(decompressor.error());
  }
  json steps = json::array();
  for (const json& piece : request.at("pieces")) {
    const int64_t most = piece.at(1).get<int64_t>();
    const auto out = decompressor->Decompress(
        FromHex(piece.at(0)), most < 0 ? Decompressor::kNoLimit : static_cast<size_t>(most));
    json step = ToJson(out);
    step["eof"] = decompressor->eof();
    step["needs_input"] = decompressor->needs_input();
    step["unused_data"] = ToHex(decompressor->unused_data());
    // 16 is Python's CHECK_UNKNOWN.
    step["check"] = decompressor->check() ? static_cast<int>(*decompressor->check()) : 16;
    steps.push_back(step);
  }
  return {{"steps", steps}};
}

json Compressing(const json& request) {
  auto compressor = Compressor::Create(CompressOptionsOf(request));
  if (!compressor) {
    return ToJson(compressor.error());
  }
  json steps = json::array();
  for (const json& piece : request.at("pieces")) {
    steps.push_back(ToJson(compressor->Compress(FromHex(piece))));
  }
  steps.push_back(ToJson(compressor->Finish()));
  return {{"steps", steps}};
}

json Answer(const json& request) {
  const std::string what = request.at("what");
  if (what == "compress") {
    return ToJson(Compress(FromHex(request.at("data")), CompressOptionsOf(request)));
  }
  if (what == "decompress") {
    return ToJson(Decompress(FromHex(request.at("data")), DecompressOptionsOf(request)));
  }
  if (what == "is_check_supported") {
    return {{"is", IsCheckSupported(static_cast<Check>(request.at("check").get<int>()))}};
  }
  return what == "compressor" ? Compressing(request) : Decompressing(request);
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(json::parse(line)) << std::endl;
  }
}
