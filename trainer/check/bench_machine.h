// Measures what forecasts are made from: how fast each rank computes while all of them do, and what their links carry.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "trainer/forecast/machine.h"
#include "trainer/launch/rank_device.h"

namespace longspan {

struct MachineBenchOptions {
  DType dtype = DType::kF32;
  int threads = 1;                                           // of a rank
  int ranks_per_node = 0;                                    // 0: all on one
  std::int64_t tokens = 1024;                                // rows of each operand
  std::vector<std::int64_t> widths = {128, 256, 512, 1024};  // of projections; ascending
  std::vector<std::int64_t> head_dims = {32, 64, 128};       // ascending
  std::int64_t vocab = 4096;
  double seconds = 0.15;  // that each operator is kept busy for, three times: the least counts
};

// A rate each, as it is known; on rank 0.
using MachineBenchLog = std::function<void(const std::string& what, double rate, std::string_view unit)>;

// Every rank does the same at the same time, so that a rate is what a rank gets where all compute. Collective; the same
// on every rank. Throws Error(kUsage) for sizes that make no sense.
Machine bench_machine(Communicator& world, const RankDevice& device, const MachineBenchOptions& options,
                      const MachineBenchLog& log);

}  // namespace longspan
