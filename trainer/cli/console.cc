#include "trainer/cli/console.h"

#include <fmt/core.h>

#include <cstdio>
#include <unistd.h>

#include "kernels/core/log.h"

namespace longspan {

Console::Console() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Console::print(const std::string& text) {
  const std::lock_guard lock(mutex_);
  clear_bar();
  fmt::print("{}\n", text);
  std::fflush(stdout);
}

void Console::warn(const std::string& text) {
  const std::lock_guard lock(mutex_);
  clear_bar();
  fmt::print(stderr, "longspan: {}\n", text);
}

void Console::progress(std::int64_t done, std::int64_t total) {
  constexpr std::int64_t kWidth = 40;
  const std::lock_guard lock(mutex_);
  if (!terminal_) return;
  const std::int64_t filled = total > 0 ? kWidth * done / total : kWidth;
  fmt::print(stderr, "\r[{:=<{}}{:{}}] {}/{}", "", filled, "", kWidth - filled, done, total);
  std::fflush(stderr);
  bar_shown_ = done < total;
  if (!bar_shown_) fmt::print(stderr, "\n");
}

void Console::clear_bar() {
  if (!bar_shown_) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  bar_shown_ = false;
}

void send_log_to(Console& console, ShowOps ops) {
  set_log_sink([&console, ops](LogLevel level, const std::string& message) {
    if (level == LogLevel::kWarning)
      console.warn(message);
    else if (level == LogLevel::kInfo || ops == ShowOps::kYes)
      console.print(message);
  });
}

}  // namespace longspan
