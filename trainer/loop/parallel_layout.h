// ParallelLayout: how a config's model and batch are spread over a world: mesh, pipeline schedule and the stages of the
// model.
#pragma once

#include <vector>

#include "models/stage.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/pipeline_schedule.h"
#include "parallel/pipeline/stage_traffic.h"
#include "trainer/config/config.h"

namespace longspan {

struct ParallelLayout {
  MeshShape mesh;
  std::int64_t micro_batches = 1;    // of a data rank, a step
  std::int64_t sequences_each = 1;   // a micro-batch
  PipelineSchedule schedule;         // of micro_batches
  std::vector<StageSpan> stages;     // in order of depth, as many as the schedule's
  StageTraffic traffic = {};         // of the schedule
  std::vector<int> hand_overs = {};  // [place in the pipeline] buffers between stages, in training and validation

  // Sequences that a data rank validates with at once.
  int validation_group() const { return mesh.pipeline == 1 ? 1 : 4 * mesh.pipeline; }
  // Of one place in the pipeline, in order of its chunks.
  std::vector<StageSpan> stages_of(int pipeline_rank) const;
};

// Which layers are in which of so many stages: as parallel.stages says, or even by FLOPs.
std::vector<StageSpan> cut_into_stages(const Config& config, int num_stages);

// Fills in traffic and hand_overs from the rest.
void plan_hand_overs(ParallelLayout& layout);

// Throws Error(kUsage) with one message that names every factor, all that is wrong with them, and a layout that would
// fit so many ranks; Error(kData) where a schedule file cannot be read or is not right.
ParallelLayout resolve_layout(const Config& config, int world);

}  // namespace longspan
