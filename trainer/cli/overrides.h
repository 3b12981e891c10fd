// Overrides: the --a.b=value words of a command line that the command itself does not know.
#pragma once

#include <string>
#include <vector>

#include "trainer/config/config.h"

namespace longspan {

// `words` as CLI::App::remaining() gives them. Throws Error(kUsage) naming the word that is not --a.b=value.
std::vector<Override> parse_overrides(const std::vector<std::string>& words);

}  // namespace longspan
