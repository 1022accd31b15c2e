#include "xz/filter_chain.h"

#include <cerrno>
#include <string>

#include "base/try.h"
#include "xz/lzma_util.h"

namespace xzfs {
namespace {

Result<lzma_options_lzma> LzmaOptions(const Filter& filter) {
  lzma_options_lzma options{};
  XZFS_ASSIGN_OR_RETURN(const uint32_t preset, PresetOf(filter.preset, filter.extreme));
  if (lzma_lzma_preset(&options, preset)) {
    return Fail(EINVAL, "liblzma doesn't have the preset " + std::to_string(filter.preset));
  }
  options.dict_size = filter.dictionary_bytes.value_or(options.dict_size);
  options.lc = filter.literal_context_bits.value_or(options.lc);
  options.lp = filter.literal_position_bits.value_or(options.lp);
  options.pb = filter.position_bits.value_or(options.pb);
  options.nice_len = filter.nice_length.value_or(options.nice_len);
  options.depth = filter.depth.value_or(options.depth);
  if (filter.mode) {
    options.mode = static_cast<lzma_mode>(*filter.mode);
  }
  if (filter.match_finder) {
    options.mf = static_cast<lzma_match_finder>(*filter.match_finder);
  }
  return options;
}

}  // namespace

Result<FilterChain> FilterChain::Make(std::span<const Filter> filters) {
  if (filters.empty() || filters.size() > LZMA_FILTERS_MAX) {
    return Fail(EINVAL, "a filter chain has 1 to 4 filters, not " + std::to_string(filters.size()));
  }
  auto parts = std::make_unique<Parts>();
  for (size_t i = 0; i < filters.size(); ++i) {
    const Filter& filter = filters[i];
    void* options = nullptr;
    if (filter.id == FilterId::kLzma1 || filter.id == FilterId::kLzma2) {
      if (i + 1 != filters.size()) {
        return Fail(EINVAL, "only the last filter of a chain can be an LZMA filter");
      }
      XZFS_ASSIGN_OR_RETURN(parts->lzma, LzmaOptions(filter));
      options = &parts->lzma;
    } else if (i + 1 == filters.size()) {
      return Fail(EINVAL, "the last filter of a chain must be kLzma2, or kLzma1");
    } else if (filter.id == FilterId::kDelta) {
      parts->delta[i] = {};
      parts->delta[i].type = LZMA_DELTA_TYPE_BYTE;
      parts->delta[i].dist = filter.distance_bytes;
      options = &parts->delta[i];
    } else {
      parts->bcj[i].start_offset = filter.start_offset;
      options = &parts->bcj[i];
    }
    parts->chain[i] = {static_cast<lzma_vli>(filter.id), options};
  }
  parts->chain[filters.size()] = {LZMA_VLI_UNKNOWN, nullptr};
  return FilterChain(std::move(parts));
}

Failure<> FailOptions(lzma_ret ret, const std::string& what) {
  if (ret == LZMA_OPTIONS_ERROR || ret == LZMA_PROG_ERROR || ret == LZMA_UNSUPPORTED_CHECK) {
    return Fail(EINVAL, what + ": liblzma doesn't have these options, or not together");
  }
  return FailLzma(ret, what);
}

Result<uint32_t> PresetOf(unsigned preset, bool extreme) {
  if (preset > 9) {
    return Fail(EINVAL, "there is no preset " + std::to_string(preset) + "; presets are 0 to 9");
  }
  return preset | (extreme ? LZMA_PRESET_EXTREME : 0);
}

}  // namespace xzfs
