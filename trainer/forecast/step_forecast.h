// Step forecast: how long a training step of a layout would take on a machine, and where the time goes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/forecast/attention_time.h"
#include "trainer/forecast/replica_sum.h"
#include "trainer/loop/parallel_layout.h"

namespace longspan {

// Where a layout would run.
struct ForecastPlace {
  int ranks_per_node = 0;  // consecutive ranks share a node; 0: all of them
  int num_threads = 1;     // of a rank
  Device device = Device::kCpu;
  // Lengths of the documents of each sequence; empty: one of data.sequence_length.
  std::vector<std::int64_t> documents{};
};

struct StepForecast {
  double step_seconds = 0;
  double tokens = 0;  // a step, of all ranks
  double flops = 0;   // of the model, counted as metrics count them
  int world = 1;
  double peak = 0;    // of a rank, for MFU; 0: not known
  double bubble = 0;  // share of the pipeline's time in which a rank computes nothing, in the mean
  // What computation does not cover: sums of gradients and weights on their way back; transfers between stages, by
  // which the pipeline would end earlier if they took no time; transfers of attention, of the rank that waits longest.
  double exposed_data = 0, exposed_pipeline = 0, exposed_context = 0;
  double update_seconds = 0;  // of the optimizer, and what else follows the last backward

  PipelineSchedule schedule;
  Timeline timeline;          // seconds
  std::vector<Stretch> sums;  // of gradients, by place in the pipeline
  Stretch update, gather;     // of weights, under the next forward; empty without parallel.zero

  double tokens_per_second() const { return tokens / step_seconds; }
  double tokens_per_second_and_rank() const { return tokens_per_second() / world; }
  double mfu() const { return peak > 0 ? flops / (step_seconds * world * peak) : 0; }
};

// Forecasts steps of one model on one machine. Config::parallel may differ from call to call, and model.recompute; what
// is computed and its size may not.
class StepForecaster {
 public:
  // Throws Error(kUsage) where the machine's rates are of another precision than run.precision.
  StepForecaster(const Config& config, const Machine& machine, const ForecastPlace& place);

  // Throws Error(kUnsupported) where the context scheme refuses.
  StepForecast forecast(const Config& config, const ParallelLayout& layout);

  // No step of this layout takes less, whatever the order of its schedule's operations, of which only the stages are
  // looked at: a rank's work, behind the first forward through the stages above its own, before the last backward
  // through them. With kHalves weights' gradients hold nobody up. context: that of context_time or of ideal_context.
  double least_seconds(const Config& config, const ParallelLayout& layout, BackwardKind backward,
                       const ContextTime& context) const;
  // What the layout's context groups take for a micro-batch; what they take at least, without a plan; and what their
  // attention needs. Throw as above.
  const ContextTime& context_time(const Config& config, const ParallelLayout& layout);
  ContextTime ideal_context(const ParallelLayout& layout) const;
  AttentionNeed attention_need(const Config& config, const ParallelLayout& layout);

 private:
  struct Costs;
  ContextPlace context_place(const Config& config, const ParallelLayout& layout) const;
  Costs costs_of(const Config& config, const ParallelLayout& layout, const ContextTime& context) const;
  void add_sums(const Config& config, const ParallelLayout& layout, StepForecast& step) const;

  Machine machine_;  // at the rates of a rank that has its cores to itself
  ForecastPlace place_;
  AttentionTimes attention_;
};

// The lines that `longspan plan` prints.
std::string describe(const StepForecast& step, const Machine& machine);

}  // namespace longspan
