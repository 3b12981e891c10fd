// Model: a decoder of the Llama family with explicit forward and backward over one rank's tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/exec.h"
#include "kernels/ops/training_ops.h"
#include "models/model_config.h"
#include "parallel/context/executor.h"

namespace longspan {

// A weight by its Hugging Face name ("model.layers.0.self_attn.q_proj.weight", shape [out, in]).
struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;
  Tensor master;       // fp32, flat [numel]
  Tensor compute;      // what the layers read, flat: bf16 copy, or master itself in fp32
  Tensor gradient;     // fp32, flat; absent in a model without gradients
  bool decays = true;  // weight decay applies (matrices yes; norms, biases, sinks no)
};

// One rank's share of one packed sequence, in the local order of the plan's home.
struct MicroBatch {
  Tensor tokens;     // [c] int32
  Tensor labels;     // [c] int32, -1: no loss here
  Tensor positions;  // [c] int32, inside the document
};

// Core attention for each entry of config.pattern, same order; all over the same home and communicator.
using AttentionByPattern = std::span<ContextAttention* const>;

enum class Gradients : std::uint8_t { kNone, kKeep };

class Model {
 public:
  // Weights, their bf16 copies (precision kBF16) and gradients are laid out in `weights`, each kind contiguous.
  Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights);
  ~Model();

  const ModelConfig& config() const;
  DType precision() const;
  std::span<Parameter> parameters();
  const Tensor& all_gradients() const;  // every gradient as one flat fp32 tensor, for reduction over ranks

  // Normal(0, init_std), output projections scaled by 1/sqrt(2 layers); norms 1, biases and sinks 0. The values of a
  // tensor depend on seed and its name only. The compute copies follow.
  void initialize(const Exec& exec, std::uint64_t seed);
  // Refreshes the compute copies after master weights were changed from outside.
  void refresh_compute(const Exec& exec);

  // totals [2] fp64 on the model's device += the loss over this rank's tokens, unscaled, and their number with a label
  // (HeadLoss::totals): the caller reads them when it must, so that no micro-batch waits for another. Collective over
  // the attention's communicator. `activations` is left as found.
  void evaluate(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, const Tensor& totals,
                Arena& activations);
  // The same, and adds grad_scale times the gradient to every parameter's gradient.
  void forward_backward(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, float grad_scale,
                        const Tensor& totals, Arena& activations);

 private:
  friend class Generator;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Exact number of trainable parameters, and training FLOPs a token at this length: 6 x matrix parameters + attention
// counted over visible pairs of one full document (causal and window respected), forward and backward.
std::int64_t count_parameters(const ModelConfig& config);
double training_flops_per_token(const ModelConfig& config, std::int64_t sequence_length);
// The same by depth: of each layer, and of the head. They add up to training_flops_per_token.
struct DepthFlops {
  std::vector<double> layers;
  double head = 0;
};
DepthFlops training_flops_by_depth(const ModelConfig& config, std::int64_t sequence_length);
// Attention share of the above.
double attention_flops_per_token(const ModelConfig& config, std::int64_t sequence_length);

// Bytes the constructor of Model takes from `weights` (exact).
std::int64_t weight_bytes(const ModelConfig& config, DType precision, Gradients gradients);
// Peak bytes forward_backward takes from `activations` for this many local tokens (exact; tests compare with the
// arena).
std::int64_t activation_bytes(const ModelConfig& config, DType precision, std::int64_t tokens);
// Pinned memory of the host that config.offload takes for them.
std::int64_t offloaded_bytes(const ModelConfig& config, DType precision, std::int64_t tokens);
// Scratch it takes at most from exec.workspace while the attention takes none (see
// ContextAttention::…_workspace_bytes). Where the machine multiplies bf16 itself, room for the library's own scratch is
// reckoned at 4 MiB a thread; on a GPU at 32 MiB.
std::int64_t model_workspace_bytes(const ModelConfig& config, Device device, DType precision, std::int64_t tokens,
                                   int num_threads);

}  // namespace longspan
