#include "xz/filter_chain.h"

#include <cerrno>
#include <string>

#include "base/try.h"
#include "xz/lzma_util.h"

namespace xzfs {
namespace {

template <int kVersion>
Result<lzma_options_lzma> LzmaOptions(const Lzma<kVersion>& filter) {
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

template <int kVersion>
Status FilterChain::Set(size_t at, const Lzma<kVersion>& filter) {
  XZFS_ASSIGN_OR_RETURN(parts_->lzma, LzmaOptions(filter));
  parts_->chain[at] = {kVersion == 1 ? LZMA_FILTER_LZMA1 : LZMA_FILTER_LZMA2, &parts_->lzma};
  return {};
}

Status FilterChain::Set(size_t at, const Delta& filter) {
  parts_->delta[at] = {};
  parts_->delta[at].type = LZMA_DELTA_TYPE_BYTE;
  parts_->delta[at].dist = filter.distance_bytes;
  parts_->chain[at] = {LZMA_FILTER_DELTA, &parts_->delta[at]};
  return {};
}

Status FilterChain::Set(size_t at, const Bcj& filter) {
  if (filter.machine < Machine::kX86 || filter.machine > Machine::kArm64) {
    return Fail(EINVAL, "there is no filter for the machine " +
                            std::to_string(static_cast<unsigned>(filter.machine)));
  }
  parts_->bcj[at].start_offset = filter.start_offset;
  parts_->chain[at] = {static_cast<lzma_vli>(filter.machine), &parts_->bcj[at]};
  return {};
}

Result<FilterChain> FilterChain::Make(std::span<const Filter> filters) {
  if (filters.empty() || filters.size() > LZMA_FILTERS_MAX) {
    return Fail(EINVAL, "a filter chain has 1 to 4 filters, not " + std::to_string(filters.size()));
  }
  FilterChain chain(std::make_unique<Parts>());
  for (size_t i = 0; i < filters.size(); ++i) {
    const bool is_lzma =
        std::holds_alternative<Lzma2>(filters[i]) || std::holds_alternative<Lzma1>(filters[i]);
    const bool is_last = i + 1 == filters.size();
    if (is_lzma != is_last) {
      return Fail(EINVAL, is_last ? "the last filter of a chain must be an Lzma2, or an Lzma1"
                                  : "only the last filter of a chain can be an Lzma2 or an Lzma1");
    }
    XZFS_RETURN_IF_ERROR(
        std::visit([&](const auto& filter) { return chain.Set(i, filter); }, filters[i]));
  }
  chain.parts_->chain[filters.size()] = {LZMA_VLI_UNKNOWN, nullptr};
  return chain;
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
