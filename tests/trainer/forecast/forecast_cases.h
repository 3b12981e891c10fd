// Machines and experiments that tests of forecasts share.
#pragma once

#include <string>

#include "trainer/config/config.h"
#include "trainer/forecast/machine.h"

namespace longspan::testing {

// Does products and attention at one rate each, and everything else in no time.
inline Machine ideal_machine(double flops_per_second = 1e12) {
  constexpr double kNoTime = 1e30;
  return {.name = "ideal",
          .source = "made up",
          .peak = flops_per_second,
          .products = {{256, flops_per_second, flops_per_second, flops_per_second}},
          .attention = {{64, flops_per_second, flops_per_second}},
          .head_rate = flops_per_second,
          .bytes_per_second = kNoTime,
          .update_bytes_per_second = kNoTime,
          .seconds_per_operator = 0,
          .node = {kNoTime, 0, kNoTime},
          .network = {kNoTime, 0, kNoTime}};
}

// Of which everything takes its time.
inline Machine real_machine() {
  return {.name = "real",
          .source = "made up",
          .products = {{128, 1e11, 1.1e11, 0.9e11}, {1024, 2e11, 2.2e11, 1.8e11}},
          .attention = {{64, 1e11, 0.8e11}},
          .head_rate = 1.5e11,
          .bytes_per_second = 2e10,
          .update_bytes_per_second = 1e10,
          .seconds_per_operator = 1e-6,
          .node = {1e10, 1e-5, 8e9},
          .network = {1e9, 3e-5, 8e8}};
}

inline Config experiment(const std::string& more = "") {
  return parse_config(
      "run: {precision: fp32}\n"
      "model: {layers: 8, hidden: 256, heads: 4, kv_heads: 2, ffn: 768, vocab: 512}\n"
      "data: {train: [\"synthetic:passkey\"], sequence_length: 512, global_batch: 16}\n" +
          more,
      "experiment.yaml", {});
}

}  // namespace longspan::testing
