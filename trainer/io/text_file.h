// Text files, read whole.
#pragma once

#include <string>

namespace longspan {

// Every byte of it. Throws Error(kData) naming the file.
std::string read_text_file(const std::string& path);

}  // namespace longspan
