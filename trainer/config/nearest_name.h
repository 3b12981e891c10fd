// The name that somebody who mistyped one most likely meant.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace longspan {

// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other (Damerau 1964,
// restricted: no text is edited twice).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `name`, the first of equals; empty where none is near. A candidate whose part after the last
// dot is that of `name` counts as near: the key may have been put under the wrong section.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);

}  // namespace longspan
