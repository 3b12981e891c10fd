// Messages of the libraries. They never print: whoever runs them installs a sink.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <string>

namespace longspan {

enum class LogLevel { kOps, kInfo, kWarning };

// Thread-safe. Without a sink messages are dropped.
using LogSink = std::function<void(LogLevel, const std::string&)>;
void set_log_sink(LogSink sink);
void log_message(LogLevel level, const std::string& message);

template <class... Args>
void log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  log_message(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace longspan
