// Metrics: one line a step for people, one JSON line for programs; and the counts a run is described by.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

#include "trainer/config/config.h"

namespace longspan {

// In which a rank waited for others.
struct ExposedSeconds {
  double context = 0;   // keys, values, partial results and their gradients
  double pipeline = 0;  // activations and their gradients between stages: bubbles are among it
  double data = 0;      // gradients and weights of ranks that have the same
};

// What one step did, as rank 0 sees it.
struct StepMetrics {
  std::int64_t step = 0;
  double loss = 0;       // mean over all tokens with a label
  double grad_norm = 0;  // before clipping
  double lr = 0;
  double seconds = 0;
  std::int64_t tokens = 0;  // all ranks
  ExposedSeconds exposed = {};
  double flops_per_token = 0;
  double peak_flops = 0;        // a second, of all chips of the run together; 0: not known
  std::int64_t peak_bytes = 0;  // of this rank's arenas, where it computes
};

// "step 12/400 | loss 5.4321 | …".
std::string describe(const StepMetrics& metrics, std::int64_t total_steps);

// RUN/metrics.jsonl, flushed line by line. Floating-point values are written so that they read back exactly.
class MetricsFile {
 public:
  // Opens it to continue after `last_step`: lines of later steps, and a line cut short, are dropped.
  MetricsFile(std::string path, std::int64_t last_step);
  void add(const StepMetrics& metrics);
  void add_validation(std::int64_t step, double loss);

 private:
  void write(const std::string& line);
  std::string path_;
  std::ofstream file_;
};

}  // namespace longspan
