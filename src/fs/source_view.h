// How the mount shows stored names.
#pragma once

#include <utility>

#include "fs/zone_twins.h"
#include "store/known_files.h"
#include "store/overwritten_bases.h"
#include "store/source_dir.h"

namespace xzfs {

// The rules that turn stored names into shown ones, and the facts about files that they need. Each
// part is thread-safe.
struct SourceView {
  // `known_bytes`: the memory of KnownFiles. `os` outlives it.
  SourceView(Os& os, size_t known_bytes, ZoneTwins::OpenTop open_top)
      : known(known_bytes),
        twins(os, std::move(open_top)),
        names(os, known, &twins, &overwritten) {}

  KnownFiles known;
  ZoneTwins twins;
  OverwrittenBases overwritten;
  SourceDir names;
};

}  // namespace xzfs
