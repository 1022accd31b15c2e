#include "support/xz_builder.h"

#include <lzma.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <stdexcept>

namespace xzfs {

namespace {

void Require(lzma_ret ret, const char* what) {
  if (ret != LZMA_OK && ret != LZMA_STREAM_END) {
    throw std::runtime_error(std::string(what) + ": liblzma says " + std::to_string(ret));
  }
}

class Chain {
 public:
  explicit Chain(const std::string& text) {
    const char* problem = lzma_str_to_filters(text.c_str(), nullptr, filters, 0, nullptr);
    if (problem != nullptr) {
      throw std::runtime_error("filters " + text + ": " + problem);
    }
  }
  ~Chain() { lzma_filters_free(filters, nullptr); }
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;

  lzma_filter filters[LZMA_FILTERS_MAX + 1];
};

const uint8_t* Data(std::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

void Append(std::string* to, const uint8_t* bytes, size_t size) {
  to->append(reinterpret_cast<const char*>(bytes), size);
}

void AppendLe(std::string* to, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    to->push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  }
}

// Runs an initialised encoder over all of `plain` and frees it.
std::string RunEncoder(lzma_stream* stream, std::string_view plain) {
  const std::unique_ptr<lzma_stream, decltype(&lzma_end)> owner(stream, &lzma_end);
  std::string out;
  std::array<uint8_t, 4096> buffer;
  stream->next_in = Data(plain);
  stream->avail_in = plain.size();
  lzma_ret ret = LZMA_OK;
  while (ret == LZMA_OK) {
    stream->next_out = buffer.data();
    stream->avail_out = buffer.size();
    ret = lzma_code(stream, LZMA_FINISH);
    Append(&out, buffer.data(), buffer.size() - stream->avail_out);
  }
  Require(ret, "encoding");
  return out;
}

}  // namespace

XzBuilder& XzBuilder::BeginStream(Check check) {
  check_ = check;
  lzma_stream_flags flags{};
  flags.check = static_cast<lzma_check>(check);
  std::array<uint8_t, LZMA_STREAM_HEADER_SIZE> header;
  Require(lzma_stream_header_encode(&flags, header.data()), "Stream Header");
  Append(&bytes_, header.data(), header.size());
  return *this;
}

XzBuilder& XzBuilder::AddBlock(std::string_view plain) { return AddBlock(plain, Block()); }

XzBuilder& XzBuilder::AddBlock(std::string_view plain, const Block& how) {
  const Chain chain(how.filters);
  lzma_block block{};
  block.version = 1;
  block.filters = const_cast<lzma_filter*>(chain.filters);
  block.check = static_cast<lzma_check>(check_);
  const bool known_check = lzma_check_is_supported(block.check) != 0;
  if (!known_check) {
    block.check = LZMA_CHECK_NONE;
  }
  lzma_stream stream = LZMA_STREAM_INIT;
  Require(lzma_block_encoder(&stream, &block), "Block");
  std::string body = RunEncoder(&stream, plain);
  block.check = static_cast<lzma_check>(check_);
  if (!known_check) {
    body.append(lzma_check_size(block.check), '?');
  }

  const lzma_vli compressed_size = block.compressed_size;
  if (!how.sizes_in_header) {
    block.compressed_size = LZMA_VLI_UNKNOWN;
    block.uncompressed_size = LZMA_VLI_UNKNOWN;
  }
  if (how.header_plain_size) {
    block.uncompressed_size = *how.header_plain_size;
  }
  const Chain header_chain(how.header_filters.empty() ? how.filters : how.header_filters);
  block.filters = const_cast<lzma_filter*>(header_chain.filters);
  Require(lzma_block_header_size(&block), "Block Header");
  std::array<uint8_t, LZMA_BLOCK_HEADER_SIZE_MAX> header;
  Require(lzma_block_header_encode(&block, header.data()), "Block Header");
  block.compressed_size = compressed_size;
  const uint64_t unpadded_size = lzma_block_unpadded_size(&block);

  block_offsets_.push_back(bytes_.size());
  Append(&bytes_, header.data(), block.header_size);
  bytes_ += body;
  block_ends_.push_back(bytes_.size());
  plain_ += plain;
  return AddRecordOnly(how.recorded_unpadded_size.value_or(unpadded_size),
                       how.recorded_plain_size.value_or(plain.size()));
}

XzBuilder& XzBuilder::AddRecordOnly(uint64_t unpadded_size, uint64_t plain_size) {
  records_.push_back({unpadded_size, plain_size});
  return *this;
}

XzBuilder& XzBuilder::EndStream(size_t slack_bytes) {
  const std::unique_ptr<lzma_index, void (*)(lzma_index*)> index(
      lzma_index_init(nullptr), [](lzma_index* i) { lzma_index_end(i, nullptr); });
  for (const Record& record : records_) {
    Require(lzma_index_append(index.get(), nullptr, record.unpadded_size, record.plain_size),
            "Record");
  }
  records_.clear();
  std::string encoded(lzma_index_size(index.get()), '\0');
  size_t used = 0;
  Require(lzma_index_buffer_encode(index.get(), reinterpret_cast<uint8_t*>(encoded.data()), &used,
                                   encoded.size()),
          "Index");
  bytes_ += encoded;

  AddPadding(slack_bytes);
  AppendFooter(encoded.size() + slack_bytes);
  return *this;
}

XzBuilder& XzBuilder::EndStreamClaiming(uint64_t record_count) {
  records_.clear();
  std::array<uint8_t, LZMA_VLI_BYTES_MAX> number;
  size_t number_size = 0;
  Require(lzma_vli_encode(record_count, nullptr, number.data(), &number_size, number.size()),
          "Number of Records");
  std::string index(1, '\0');
  Append(&index, number.data(), number_size);
  index.resize((index.size() + 3) / 4 * 4);
  AppendLe(&index, lzma_crc32(Data(index), index.size(), 0), 4);
  bytes_ += index;
  AppendFooter(index.size());
  return *this;
}

void XzBuilder::AppendFooter(uint64_t index_size) {
  lzma_stream_flags flags{};
  flags.check = static_cast<lzma_check>(check_);
  flags.backward_size = index_size;
  std::array<uint8_t, LZMA_STREAM_HEADER_SIZE> footer;
  Require(lzma_stream_footer_encode(&flags, footer.data()), "Stream Footer");
  Append(&bytes_, footer.data(), footer.size());
}

XzBuilder& XzBuilder::AddPadding(size_t bytes) {
  bytes_.append(bytes, '\0');
  return *this;
}

XzBuilder& XzBuilder::AddStream(std::string_view plain, size_t block_bytes, Check check) {
  return AddStream(plain, block_bytes, check, Block());
}

XzBuilder& XzBuilder::AddStream(std::string_view plain, size_t block_bytes, Check check,
                                const Block& how) {
  BeginStream(check);
  for (size_t at = 0; at < plain.size(); at += block_bytes) {
    AddBlock(plain.substr(at, block_bytes), how);
  }
  return EndStream();
}

std::string MakeXz(std::string_view plain, size_t block_bytes, Check check) {
  return XzBuilder().AddStream(plain, block_bytes, check).bytes();
}

std::string MakeLzmaAlone(std::string_view plain, bool size_in_header) {
  lzma_options_lzma options{};
  lzma_lzma_preset(&options, 1);
  options.dict_size = 1 << 16;
  lzma_stream stream = LZMA_STREAM_INIT;
  Require(lzma_alone_encoder(&stream, &options), ".lzma");
  std::string bytes = RunEncoder(&stream, plain);
  if (size_in_header) {
    std::string size;
    AppendLe(&size, plain.size(), 8);
    bytes.replace(5, 8, size);
  }
  return bytes;
}

std::string MakeLzipMember(std::string_view plain, int version, uint8_t dict_code) {
  // After its header of 13 bytes a .lzma file has the same data, with the same end marker.
  const std::string data = MakeLzmaAlone(plain, false).substr(13);
  std::string bytes = "LZIP";
  bytes.push_back(static_cast<char>(version));
  bytes.push_back(static_cast<char>(dict_code));
  bytes += data;
  AppendLe(&bytes, lzma_crc32(Data(plain), plain.size(), 0), 4);
  AppendLe(&bytes, plain.size(), 8);
  if (version > 0) {
    AppendLe(&bytes, bytes.size() + 8, 8);
  }
  return bytes;
}

std::string SomeText(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string text;
  text.reserve(size + 32);
  while (text.size() < size) {
    text += "line ";
    text += std::to_string(random() % 100000);
    text += random() % 2 == 0 ? " was read\n" : " was written at last\n";
  }
  text.resize(size);
  return text;
}

std::string SomeNoise(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string noise(size, '\0');
  std::generate(noise.begin(), noise.end(), [&] { return static_cast<char>(random() & 0xFF); });
  return noise;
}

}  // namespace xzfs
