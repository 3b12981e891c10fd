#include "trainer/forecast/machine.h"

#include <algorithm>
#include <cmath>

#include "kernels/core/error.h"

namespace longspan {
namespace {

// The entry at `at` between its neighbours; size_of gives what the list is ordered by, each_rate visits the rates.
template <class Rate, class Size, class EachRate>
Rate interpolated(const std::vector<Rate>& rates, double at, Size size_of, EachRate each_rate) {
  LS_CHECK(!rates.empty(), "a machine without rates");
  const auto above = std::find_if(rates.begin(), rates.end(), [&](const Rate& rate) { return size_of(rate) >= at; });
  if (above == rates.begin()) return rates.front();
  if (above == rates.end()) return rates.back();
  const Rate& low = *(above - 1);
  const double share = std::log(at / size_of(low)) / std::log(size_of(*above) / size_of(low));
  Rate between = low;
  each_rate(between, *above, [&](double& rate, double next) { rate *= std::pow(next / rate, share); });
  return between;
}

void require_positive(double value, std::string_view what) {
  LS_REQUIRE(kUsage, std::isfinite(value) && value > 0, "machine: {} is {}; it must be positive", what, value);
}

template <class Rate, class Size>
void require_ascending(const std::vector<Rate>& rates, std::string_view what, Size size_of) {
  LS_REQUIRE(kUsage, !rates.empty(), "machine: there are no rates of {}", what);
  for (std::size_t i = 0; i < rates.size(); ++i) {
    require_positive(size_of(rates[i]), what);
    LS_REQUIRE(kUsage, i == 0 || size_of(rates[i - 1]) < size_of(rates[i]), "machine: sizes of {} must ascend", what);
  }
}

void check_link(const Link& link, std::string_view name) {
  require_positive(link.bytes_per_second, fmt::format("{}.bytes_per_second", name));
  require_positive(link.reduced_bytes_per_second, fmt::format("{}.reduced_bytes_per_second", name));
  LS_REQUIRE(kUsage, std::isfinite(link.seconds_per_message) && link.seconds_per_message >= 0,
             "machine: {}.seconds_per_message is {}; it must not be negative", name, link.seconds_per_message);
}

}  // namespace

ProductRate Machine::product_rate(double width) const {
  return interpolated(
      products, width, [](const ProductRate& rate) { return rate.width; },
      [](ProductRate& rate, const ProductRate& next, auto move) {
        move(rate.forward, next.forward);
        move(rate.input_gradient, next.input_gradient);
        move(rate.weight_gradient, next.weight_gradient);
      });
}

AttentionRate Machine::attention_rate(double head_dim) const {
  return interpolated(
      attention, head_dim, [](const AttentionRate& rate) { return rate.head_dim; },
      [](AttentionRate& rate, const AttentionRate& next, auto move) {
        move(rate.forward, next.forward);
        move(rate.backward, next.backward);
      });
}

double Machine::slowdown(int num_ranks, int num_threads) const {
  return cores > 0 ? std::max(1.0, static_cast<double>(num_ranks) * num_threads / cores) : 1;
}

void check_machine(const Machine& machine) {
  LS_REQUIRE(kUsage, machine.ranks >= 1 && machine.threads >= 1, "machine: {} ranks of {} threads: at least 1 of each",
             machine.ranks, machine.threads);
  LS_REQUIRE(kUsage, std::isfinite(machine.cores) && machine.cores >= 0 && machine.memory >= 0 && machine.peak >= 0,
             "machine: {} cores, {} bytes of memory and a peak of {} must not be negative", machine.cores,
             machine.memory, machine.peak);
  require_ascending(machine.products, "products", [](const ProductRate& rate) { return rate.width; });
  require_ascending(machine.attention, "attention", [](const AttentionRate& rate) { return rate.head_dim; });
  for (const ProductRate& rate : machine.products)
    for (const double each : {rate.forward, rate.input_gradient, rate.weight_gradient})
      require_positive(each, fmt::format("a rate of products of width {}", rate.width));
  for (const AttentionRate& rate : machine.attention)
    for (const double each : {rate.forward, rate.backward})
      require_positive(each, fmt::format("a rate of attention of head size {}", rate.head_dim));
  require_positive(machine.head_rate, "head_rate");
  require_positive(machine.bytes_per_second, "bytes_per_second");
  require_positive(machine.update_bytes_per_second, "update_bytes_per_second");
  LS_REQUIRE(kUsage, std::isfinite(machine.seconds_per_operator) && machine.seconds_per_operator >= 0,
             "machine: seconds_per_operator is {}; it must not be negative", machine.seconds_per_operator);
  check_link(machine.node, "node");
  check_link(machine.network, "network");
}

}  // namespace longspan
