#include "kernels/core/error.h"

#include <string_view>

namespace longspan::detail {

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  std::string_view path = file;
  path.remove_prefix(path.rfind('/') + 1);
  throw Error(ErrorKind::kInternal, fmt::format("{}:{}: expected {}: {}", path, line, condition, message));
}

}  // namespace longspan::detail
