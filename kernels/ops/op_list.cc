#include "kernels/ops/op_list.h"

#include <mutex>
#include <unordered_set>

#include "kernels/core/log.h"

namespace longspan {

void log_choice(std::string_view op, const std::string& description, std::string_view chosen,
                const std::string& refused) {
  static std::mutex mutex;
  static std::unordered_set<std::string> logged;
  std::string line = fmt::format("{} {}: {}{}", op, description, chosen, refused);
  {
    std::lock_guard lock(mutex);
    if (!logged.insert(line).second) return;
  }
  log_message(LogLevel::kOps, line);
}

}  // namespace longspan
