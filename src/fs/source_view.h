// What stored names look like in a mount.
#pragma once

#include <utility>

#include "fs/zone_twins.h"
#include "store/known_files.h"
#include "store/overwritten_bases.h"
#include "store/source_dir.h"

namespace xzfs {

// The rules by which stored names become shown ones, and what they need to know of the files.
// Each part is thread-safe.
struct SourceView {
  // `known_bytes`: for what is known of files. `os` outlives it.
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
