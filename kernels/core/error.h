// The one exception type and the checks that throw it.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace longspan {

// Who can mend it, hence how the command line reports it and with which exit code.
enum class ErrorKind {
  kUsage,        // the user's config or command line
  kData,         // a file that is missing, torn, altered or of another format
  kMemory,       // a budget or the machine's memory is too small
  kEnvironment,  // MPI, the file system, the machine
  kAborted,      // another rank failed, or a deadline passed
  kUnsupported,  // asked for something that is not built
  kInternal,     // a defect of Longspan
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

template <class... Args>
[[noreturn]] void fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(kind, fmt::format(format, std::forward<Args>(args)...));
}

namespace detail {
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);
}

}  // namespace longspan

// Our own invariants and callers' contracts: throws Error(kInternal) with place, condition and message.
#define LS_CHECK(condition, ...)                                                                                    \
  do {                                                                                                              \
    if (!(condition)) ::longspan::detail::check_failed(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (0)

// What the user or the machine can get wrong: throws Error(kind); the message ends with what to try.
#define LS_REQUIRE(kind, condition, ...)                                          \
  do {                                                                            \
    if (!(condition)) ::longspan::fail(::longspan::ErrorKind::kind, __VA_ARGS__); \
  } while (0)
