// Which plain files stay plain.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "fs/options.h"

namespace xzfs {

// The path of the file that is stored at `stored`. Names have a length that paths may exceed.
std::string AsShown(const std::string& stored, bool is_compressed);

// The rule by which the plain file at the path `stored` isn't compressed, or nothing.
std::optional<std::string> WhyPlain(const Options& options, const std::string& stored,
                                    const struct stat& st);

}  // namespace xzfs
