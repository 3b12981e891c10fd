// Ordered lists of an operator's implementations: best first, reference last; the first that does not refuse is used.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/core/error.h"

namespace longspan {

// Why an implementation cannot do what a description asks; nullopt: it can.
using Refusal = std::optional<std::string>;

// Logs, once for each distinct line, which implementation serves a description and why those before it refused.
void log_choice(std::string_view op, const std::string& description, std::string_view chosen,
                const std::string& refused);

// The first implementation that takes `desc`. Op has name() and why_unsupported(desc); Desc has describe().
// Throws Error(kUnsupported) with every reason if all refuse.
template <class Op, class Desc>
const Op& choose(std::string_view op, std::span<const Op* const> list, const Desc& desc) {
  std::string refused;
  for (const Op* candidate : list) {
    Refusal reason = candidate->why_unsupported(desc);
    if (!reason) {
      log_choice(op, desc.describe(), candidate->name(), refused);
      return *candidate;
    }
    refused += fmt::format("; {}: {}", candidate->name(), *reason);
  }
  fail(ErrorKind::kUnsupported, "{} {}: no implementation{}", op, desc.describe(), refused);
}

}  // namespace longspan
