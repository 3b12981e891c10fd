#include "trainer/config/faults.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace longspan {

std::string Faults::text() const {
  std::vector<Fault> sorted = faults_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Fault& a, const Fault& b) { return a.order < b.order; });
  std::vector<std::string> lines;
  for (const Fault& fault : sorted) lines.push_back(fault.text);
  return fmt::format("{}", fmt::join(lines, "\n"));
}

}  // namespace longspan
