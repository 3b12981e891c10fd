// Normal random numbers by counter: element i depends on the key and i alone, with the same bits on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace longspan {

// Philox 4x32 with ten rounds (Salmon et al. 2011).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// out[i] = stddev * z_i, z_i normal(0, 1). Only IEEE additions, products, quotients and square roots are used, which
// every machine rounds alike; the library's log, sin and cos are not.
void fill_normal(std::uint64_t key, double stddev, std::span<float> out);

}  // namespace longspan
