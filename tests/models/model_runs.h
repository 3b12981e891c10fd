// Running a small Model on one rank or on several local ones, and comparing what comes out.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/model.h"
#include "parallel/context/planner.h"
#include "tests/models/reference_model.h"

namespace longspan::test {

// A tiny decoder with four heads of four, all kinds of weights of comparable size.
ModelConfig tiny_config();

// Deterministic tokens; each label is the document's next token, -1 at its end and at every seventh place.
PackedTokens packed_tokens(std::vector<std::int64_t> cu_seqlens, std::int64_t vocab);
std::int64_t count_labels(const PackedTokens& batch);

// What initialize(seed) gives, with norms, biases and sinks moved off their initial values.
Weights<float> test_weights(const ModelConfig& config, std::uint64_t seed);

// One rank's tokens of a packed batch, in the order of its home. batch() is a view of it.
struct LocalTokens {
  std::vector<std::int32_t> tokens, labels, positions;

  LocalTokens(const PackedTokens& batch, const std::vector<TokenRun>& home);
  MicroBatch batch();
};

using ContextPlans = std::vector<std::shared_ptr<const ContextPlan>>;  // by pattern
ContextPlans plans_of(const ModelConfig& config, const PackedTokens& batch, const std::string& scheme, int ranks);

// The attention of one rank.
class Attentions {
 public:
  Attentions(const ModelConfig& config, const ContextPlans& plans, DType precision, Communicator& comm);
  AttentionByPattern by_pattern() const { return by_pattern_; }

 private:
  std::vector<std::unique_ptr<ContextAttention>> attentions_;
  std::vector<ContextAttention*> by_pattern_;
};

void set_weights(Model& model, const Exec& exec, const Weights<float>& weights);

struct RunSetup {
  int ranks = 1;
  std::string scheme = "ring";
  int num_threads = 1;
  DType precision = DType::kF32;
};

struct RunResult {
  double loss = 0;
  std::int64_t num_tokens = 0;
  Weights<float> gradients;                    // of the mean loss, summed over ranks
  double evaluated_loss = 0;                   // of evaluate()
  std::vector<std::int64_t> tokens_of_rank;    // c
  std::vector<std::int64_t> activation_peaks;  // by rank, as are the next two
  std::vector<std::int64_t> workspace_peaks;
  std::vector<std::int64_t> attention_workspaces;  // as the attentions predict
};

RunResult run_model(const ModelConfig& config, const Weights<float>& weights, const PackedTokens& batch,
                    const RunSetup& setup);

double relative_error(const std::vector<float>& got, const std::vector<double>& expected);
// Over all tensors as if they were one.
double relative_error(const Weights<float>& got, const Weights<double>& expected);

}  // namespace longspan::test
