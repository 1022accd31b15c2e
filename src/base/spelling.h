// What somebody may have meant.
#pragma once

#include <string_view>
#include <vector>

namespace xzfs {

// The known word that is nearest to `word`, if no more than a third of the letters are wrong; else
// "": that is another word, not a slip.
std::string_view NearestWord(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace xzfs
