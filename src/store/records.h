// Numbers, texts and records, in the bytes of docs/format.md, "Numbers, texts, records".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "xz/stream_builder.h"
#include "xzfs/byte_string.h"

namespace xzfs {

inline void PutNumber(std::string& out, uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) {
    out += static_cast<char>(number >> shift & 0xFF);
  }
}

inline void PutText(std::string& out, std::string_view text) {
  PutNumber(out, text.size());
  out += text;
}

inline void PutRecord(std::string& out, std::string_view body) {
  PutText(out, body);
  PutNumber(out, Crc64(BytesOf(body)));
}

inline std::string RecordOf(std::string_view body) {
  std::string record;
  PutRecord(record, body);
  return record;
}

// Takes what was put off the front of some bytes. Each call returns false where they end early or
// don't agree with their checksum.
class RecordParser {
 public:
  // `bytes` outlive it.
  explicit RecordParser(std::string_view bytes) : bytes_(bytes) {}

  bool Number(uint64_t& out) {
    if (bytes_.size() < 8) {
      return false;
    }
    out = 0;
    for (size_t i = 0; i < 8; ++i) {
      out |= uint64_t{static_cast<unsigned char>(bytes_[i])} << (8 * i);
    }
    bytes_.remove_prefix(8);
    return true;
  }
  bool Text(std::string& out) {
    uint64_t length = 0;
    if (!Number(length) || length > bytes_.size()) {
      return false;
    }
    out = bytes_.substr(0, length);
    bytes_.remove_prefix(length);
    return true;
  }
  bool Record(std::string& body) {
    uint64_t crc = 0;
    return Text(body) && Number(crc) && crc == Crc64(BytesOf(body));
  }

  size_t remaining() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

}  // namespace xzfs
