// Copies of the files of an overlay.
#pragma once

#include <string>

#include "base/os.h"
#include "store/overlay_content.h"
#include "store/overlay_files.h"
#include "xzfs/result.h"

namespace xzfs {

// A data file (OverlayFiles::MakeFresh) with the bytes that `content` says were written, which are
// in `old`, and with the times of `old`. It is on the disk. A failure leaves none.
Result<Descriptor> WriteFreshData(OverlayFiles& files, const Descriptor& old,
                                  const OverlayContent& content);

enum class OverlayMove { kAll, kNothing };
// Moves both files to `folder`, as `name` with their suffixes. A file whose name
// is lost is copied if it is open. kNothing: the data was lost.
Result<OverlayMove> MoveFiles(OverlayFiles& files, int folder, const std::string& name);

}  // namespace xzfs
