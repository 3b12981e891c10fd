#include "trainer/check/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace longspan {
namespace {

bool same_kind(float x, double expected) {
  if (std::isfinite(x) || std::isfinite(expected)) return std::isfinite(x) && std::isfinite(expected);
  if (std::isnan(x) || std::isnan(expected)) return std::isnan(x) && std::isnan(expected);
  return std::signbit(x) == std::signbit(expected);
}

}  // namespace

Deviation deviation_of(std::span<const float> x, std::span<const double> expected) {
  LS_CHECK(x.size() == expected.size(), "{} values against {} expected ones", x.size(), expected.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!same_kind(x[i], expected[i])) return {HUGE_VAL, fmt::format("{} for {} at element {}", x[i], expected[i], i)};
    if (!std::isfinite(x[i])) continue;
    const double d = static_cast<double>(x[i]) - expected[i];
    difference += d * d;
    norm += expected[i] * expected[i];
  }
  return {norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference), {}};
}

bool all_pass(std::span<const TensorVerdict> verdicts) {
  return std::all_of(verdicts.begin(), verdicts.end(), [](const TensorVerdict& v) { return v.passes(); });
}

std::string table_of(std::span<const TensorVerdict> verdicts) {
  std::string table = fmt::format("  {:<8} {:>14} {:>10}  {}\n", "tensor", "relative error", "bound", "verdict");
  for (const TensorVerdict& v : verdicts) {
    table += fmt::format("  {:<8} {:>14.2e} {:>10.2e}  {}{}\n", v.name, v.deviation.relative, v.bound,
                         v.passes() ? "pass" : "FAIL",
                         v.deviation.misplaced.empty() ? "" : " (" + v.deviation.misplaced + ")");
  }
  return table;
}

}  // namespace longspan
