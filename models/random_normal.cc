#include "models/random_normal.h"

#include <cmath>
#include <numbers>

namespace longspan {
namespace {

// Natural logarithm of x > 0: x = m 2^e with m around 1, then ln m = 2 artanh((m-1)/(m+1)) as a power series.
double portable_log(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);  // exact, in [0.5, 1)
  if (mantissa < std::numbers::sqrt2 / 2) {
    mantissa *= 2;
    --exponent;
  }
  const double t = (mantissa - 1) / (mantissa + 1);  // |t| < 0.172: eleven terms reach double precision
  const double t2 = t * t;
  double series = 0;
  for (int n = 21; n >= 1; n -= 2) series = series * t2 + 1.0 / n;
  return 2 * t * series + exponent * std::numbers::ln2;
}

// 53 random bits as a number in [-1, 1).
double signed_uniform(std::uint32_t high, std::uint32_t low) {
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1p-52 - 1;
}

// Two independent normals by the polar method (Marsaglia & Bray 1964).
std::array<double, 2> normal_pair(std::uint64_t key, std::uint64_t pair) {
  const std::array<std::uint32_t, 2> words = {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
  for (std::uint32_t attempt = 0;; ++attempt) {
    const auto bits =
        philox({static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32), attempt, 0}, words);
    const double u = signed_uniform(bits[0], bits[1]), v = signed_uniform(bits[2], bits[3]);
    const double s = u * u + v * v;
    if (s >= 1 || s == 0) continue;
    const double stretch = std::sqrt(-2 * portable_log(s) / s);
    return {u * stretch, v * stretch};
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0], b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

void fill_normal(std::uint64_t key, double stddev, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); i += 2) {
    const auto pair = normal_pair(key, i / 2);
    out[i] = static_cast<float>(stddev * pair[0]);
    if (i + 1 < out.size()) out[i + 1] = static_cast<float>(stddev * pair[1]);
  }
}

}  // namespace longspan
