// Sizes of pipelines that tests walk through.
#pragma once

#include "parallel/pipeline/schedule_planner.h"

namespace longspan::testing {

template <class Body>
void for_each_shape(int max_ranks, int max_micro_batches, int max_chunks, const Body& body) {
  for (int ranks = 1; ranks <= max_ranks; ++ranks)
    for (int micro_batches = 1; micro_batches <= max_micro_batches; ++micro_batches)
      for (int chunks = 1; chunks <= max_chunks; ++chunks)
        body(PipelineShape{.ranks = ranks, .micro_batches = micro_batches, .chunks = chunks});
}

// Every planner over a few shapes it takes.
template <class Body>
void for_each_small_schedule(const Body& body) {
  for (const PipelinePlanner* planner : pipeline_planners())
    for (const int ranks : {1, 2, 4})
      for (const int chunks : {1, 2, 3})
        if (const PipelineShape shape{.ranks = ranks, .micro_batches = 2 * ranks, .chunks = chunks};
            !planner->why_unsupported(shape))
          body(make_pipeline_schedule(planner->name(), shape));
}

}  // namespace longspan::testing
