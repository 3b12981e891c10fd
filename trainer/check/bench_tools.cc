#include "trainer/check/bench_tools.h"

#include <algorithm>
#include <random>

namespace longspan {

void fill_random(const Tensor& tensor, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t n = 0; n < tensor.numel(); ++n) {
    if (tensor.dtype == DType::kBF16)
      tensor.get<bf16>()[n] = bf16(normal(random));
    else
      tensor.get<float>()[n] = normal(random);
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double least(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

}  // namespace longspan
