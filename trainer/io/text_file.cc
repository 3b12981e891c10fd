#include "trainer/io/text_file.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "kernels/core/error.h"

namespace longspan {

std::string read_text_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  LS_REQUIRE(kData, file, "{}: cannot open it: {}", path, std::strerror(errno));
  std::ostringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

}  // namespace longspan
