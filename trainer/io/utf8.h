// UTF-8: where a text stops being it.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace longspan {

// Offset of the first byte that begins no whole, shortest-form, non-surrogate character up to U+10FFFF; nullopt: none.
std::optional<std::size_t> first_invalid_utf8(std::string_view text);

}  // namespace longspan
