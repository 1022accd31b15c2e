// A guess at the word that a user meant.
#pragma once

#include <string_view>
#include <vector>

namespace xzfs {

// The known word that is nearest to `word`, if no more than a third of the letters are wrong; else
// "", as that is another word and no slip.
std::string_view NearestWord(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace xzfs
