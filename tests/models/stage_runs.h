// Running a model cut into stages by hand: its passes one after another on one rank of the pipeline, over one or
// several ranks of context, as a pipeline's schedules would order them.
#pragma once

#include <random>
#include <vector>

#include "models/stage_pass.h"
#include "tests/models/model_runs.h"

namespace longspan::test {

// The stages of each of a pipeline's ranks. Stage s of the model, in order of depth, is stage `stage` of rank `rank`.
struct Cut {
  struct Place {
    int rank = 0, stage = 0;
  };
  std::vector<std::vector<StageSpan>> ranks;
  std::vector<Place> places;
};
// Whether the embedding or the head may be a stage without a layer.
enum class Alone : std::uint8_t { kNever, kPerhaps };
// At random places, over a random number of ranks.
Cut random_cut(const ModelConfig& config, Alone alone, std::mt19937& random);
std::string describe(const Cut& cut);

// In which order the passes of several micro-batches come.
enum class Order : std::uint8_t {
  kOneByOne,        // each micro-batch forward and backward before the next
  kForwardFirst,    // all forward, then all backward
  kWeightsLast,     // all forward, all input gradients, then all weight gradients
  kWeightsDelayed,  // one by one, but weight gradients one micro-batch late
};

struct StageSetup {
  Cut cut;
  BackwardKind backward = BackwardKind::kWhole;  // kHalves with the last two orders, and with kOneByOne
  Order order = Order::kOneByOne;
  int ranks = 1;  // of context
  std::string scheme = "striped";
  DType precision = DType::kF32;
};

struct StageResult {
  double loss = 0, evaluated_loss = 0;
  std::int64_t num_tokens = 0;
  // Of the mean loss of all micro-batches, summed over the ranks of context; by rank of the pipeline.
  std::vector<Weights<float>> gradients;
  // Of context rank 0, for the first micro-batch: what passes took, and what that had been predicted to be.
  std::vector<std::int64_t> taken, predicted;
};

// Fails, in words, where passes leave memory taken, change what they may not, or tell a watch wrongly. Weights are not
// there (NaN) until a pass says that it is about to use them.
StageResult run_stages(const ModelConfig& config, const Weights<float>& weights,
                       const std::vector<PackedTokens>& micro_batches, const StageSetup& setup);

// The same by forward_backward and evaluate of the whole model.
StageResult run_whole(const ModelConfig& config, const Weights<float>& weights,
                      const std::vector<PackedTokens>& micro_batches, const StageSetup& setup);

}  // namespace longspan::test
