#include "trainer/cli/overrides.h"

#include "kernels/core/error.h"

namespace longspan {

std::vector<Override> parse_overrides(const std::vector<std::string>& words) {
  std::vector<Override> overrides;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    LS_REQUIRE(
        kUsage, word.starts_with("--") && equals != std::string::npos && equals > 2,
        "{}: neither an option of this command nor an override of the config, which is written --section.key=value",
        word);
    overrides.emplace_back(word.substr(2, equals - 2), word.substr(equals + 1));
  }
  return overrides;
}

}  // namespace longspan
