// Frequencies of rotary positions (Su et al. 2021), plain or stretched beyond the length a model was trained at.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model_config.h"

namespace longspan {

struct RopeFrequencies {
  std::vector<float> inverse;  // [head_dim / 2]: radians a position, computed in double and rounded once
  float attention_factor = 1;  // multiplies cos and sin, hence scores by its square
};

// theta^(-2i/head_dim), i = 0 … head_dim/2 - 1, then by kind (factor s, original length L):
//   linear  every frequency divided by s (Chen et al. 2023);
//   ntk     the static form: theta becomes theta * s^(head_dim / (head_dim - 2)), so that the lowest frequency is
//           divided by s and the highest is left alone;
//   yarn    NTK by parts (Peng et al. 2023, section 3.2): dimensions that turn more than beta_fast times in L are left
//           alone, those below beta_slow divided by s, a ramp linear in the dimension's number between; the ends are
//           rounded outwards, as published checkpoints have it. attention_factor 0.1 ln(s) + 1 unless given;
//   llama3  wavelengths below L / high_freq_factor left alone, above L / low_freq_factor divided by s, between them
//           a blend linear in L / wavelength (Llama 3.1).
RopeFrequencies rope_frequencies(std::int64_t head_dim, double theta, const RopeScaling& scaling);

}  // namespace longspan
