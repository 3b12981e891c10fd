// Sizes of pipelines that tests walk through.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule_planner.h"

namespace longspan::testing {

template <class Body>
void for_each_shape(int max_ranks, int max_micro_batches, int max_chunks, const Body& body) {
  for (int ranks = 1; ranks <= max_ranks; ++ranks)
    for (int micro_batches = 1; micro_batches <= max_micro_batches; ++micro_batches)
      for (int chunks = 1; chunks <= max_chunks; ++chunks)
        body(PipelineShape{.ranks = ranks, .micro_batches = micro_batches, .chunks = chunks});
}

struct ShapeChoices {
  std::vector<int> ranks, micro_batches, chunks;
};

// Every planner over the shapes among these that it takes.
template <class Body>
void for_each_schedule(const ShapeChoices& choices, const Body& body) {
  for (const PipelinePlanner* planner : pipeline_planners())
    for (const int ranks : choices.ranks)
      for (const int micro_batches : choices.micro_batches)
        for (const int chunks : choices.chunks)
          if (const PipelineShape shape{.ranks = ranks, .micro_batches = micro_batches, .chunks = chunks};
              !planner->why_unsupported(shape))
            body(make_pipeline_schedule(planner->name(), shape));
}

// Every planner over a few shapes it takes.
template <class Body>
void for_each_small_schedule(const Body& body) {
  for (const int ranks : {1, 2, 4}) for_each_schedule({{ranks}, {2 * ranks}, {1, 2, 3}}, body);
}

}  // namespace longspan::testing
