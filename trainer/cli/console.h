// Console: what a command prints: lines on stdout, warnings on stderr, a progress bar where stderr is a terminal.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

namespace longspan {

// Thread-safe.
class Console {
 public:
  Console();
  void print(const std::string& text);
  void warn(const std::string& text);
  void progress(std::int64_t done, std::int64_t total);

 private:
  void clear_bar();
  std::mutex mutex_;
  bool terminal_;
  bool bar_shown_ = false;
};

// Sends the libraries' messages to the console; choices of operators only if asked for.
enum class ShowOps : std::uint8_t { kNo, kYes };
void send_log_to(Console& console, ShowOps ops);

}  // namespace longspan
