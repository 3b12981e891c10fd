#include "trainer/launch/variables.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "kernels/core/error.h"

namespace longspan {

std::optional<std::int64_t> number_in_variable(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  std::int64_t value = -1;
  const char* end = text + std::strlen(text);
  const auto [stop, code] = std::from_chars(text, end, value);
  LS_REQUIRE(kUsage, code == std::errc() && stop == end && value >= 0,
             "the environment variable {} is '{}'; a launcher gives a whole number there", name, text);
  return value;
}

}  // namespace longspan
