// Stage time: what the passes of one micro-batch through one stage of the model take on a rank.
#pragma once

#include "models/stage.h"
#include "parallel/pipeline/timeline.h"
#include "trainer/forecast/attention_time.h"
#include "trainer/forecast/layer_time.h"

namespace longspan {

struct StageTime {
  StageCost cost;              // seconds
  double exposed_context = 0;  // of these, waiting for transfers of attention
};

// Of one model on one machine, of which a rank has its threads' cores to itself.
class StageTimes {
 public:
  StageTimes(const ModelConfig& model, const Machine& machine);

  // Where layers recompute, forward is part of the backward too: of its first half, for gradients of the input need it.
  StageTime of(const StageSpan& span, const ContextTime& context) const;

 private:
  ModelConfig model_;
  double seconds_per_operator_, seconds_per_byte_;
  LayerTime layer_;
  EndsTime ends_;
  LayerOperators operators_;
  CarryBytes carry_;
};

}  // namespace longspan
