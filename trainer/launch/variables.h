// Environment variables that launchers set.
#pragma once

#include <cstdint>
#include <optional>

namespace longspan {

// Nothing where it is not set. Throws Error(kUsage) where it holds anything but a number that is at least 0.
std::optional<std::int64_t> number_in_variable(const char* name);

}  // namespace longspan
