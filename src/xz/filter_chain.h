// A chain of xzfs::Filter in the form that liblzma takes.
#pragma once

#include <lzma.h>

#include <array>
#include <memory>
#include <span>

#include "xzfs/filter.h"
#include "xzfs/result.h"

namespace xzfs {

// Owns a filter chain and the options that it points to. Movable.
class FilterChain {
 public:
  // Errors: EINVAL if it has no or too many filters, or one that liblzma can't have. Whether they
  // fit together is only known when a coder is made from them: see FailOptions.
  static Result<FilterChain> Make(std::span<const Filter> filters);

  const lzma_filter* get() const { return parts_->chain.data(); }
  // The options of the last filter. REQUIRES: it is an Lzma1 or Lzma2.
  const lzma_options_lzma& lzma() const { return parts_->lzma; }

 private:
  struct Parts {
    std::array<lzma_filter, LZMA_FILTERS_MAX + 1> chain;
    lzma_options_lzma lzma;
    std::array<lzma_options_delta, LZMA_FILTERS_MAX> delta;
    std::array<lzma_options_bcj, LZMA_FILTERS_MAX> bcj;
  };
  explicit FilterChain(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

  // Puts a filter into its place in the chain.
  template <int kVersion>
  Status Set(size_t at, const Lzma<kVersion>& filter);
  Status Set(size_t at, const Delta& filter);
  Status Set(size_t at, const Bcj& filter);

  std::unique_ptr<Parts> parts_;
};

// The error for `ret` of a function that prepares a coder, where wrong options are the caller's
// fault and not the data's.
Failure<> FailOptions(lzma_ret ret, const std::string& what);

// The preset in the form that liblzma takes. Errors: EINVAL if there is none.
Result<uint32_t> PresetOf(unsigned preset, bool extreme);

}  // namespace xzfs
