// Model: a decoder of the Llama family, or the stages of one that a rank computes, with explicit forward and backward
// over the rank's tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/exec.h"
#include "kernels/ops/training_ops.h"
#include "models/model_config.h"
#include "models/stage.h"
#include "models/stage_call.h"
#include "parallel/data/flat_range.h"

namespace longspan {

// A weight by its Hugging Face name ("model.layers.0.self_attn.q_proj.weight", shape [out, in]).
struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;
  Tensor master;           // fp32, flat [numel]; absent where this rank keeps a part of it (see pieces())
  Tensor compute;          // what the layers read, flat: bf16 or fp32 copy, or master itself in fp32
  Tensor gradient;         // fp32, flat; absent in a model without gradients
  bool decays = true;      // weight decay applies (matrices yes; norms, biases, sinks no)
  FlatRange place = {};    // in all_gradients()
  bool tied_copy = false;  // of the embedding, on a rank that does not embed: another rank has the weight itself
};

// Elements begin … end-1 of a weight, which this rank updates.
struct WeightPiece {
  std::int64_t parameter = 0;  // place in parameters()
  FlatRange range;
  Tensor master, compute, gradient;  // views of these elements
};

// Weights that a pass uses, and whose gradients it completes, together: the embedding, a layer, the final norm and
// head. The same elements of the flat tensors of masters, compute copies and gradients, each tensor's padding included;
// one unit begins where the one before it ends.
struct WeightUnit {
  std::string name;  // "embedding", "layer 3", "head"
  std::int64_t begin = 0, end = 0;
  FlatRange range() const { return {begin, end}; }
};

// Where the weights of a rank's stages lie in its flat tensors. Known before a model is made: what is to be shared
// among replicas is planned from it (plan_buckets).
struct WeightLayout {
  std::vector<WeightUnit> units;
  std::vector<FlatRange> parameters;  // [parameter]
  // No share ends inside one of these: in bf16, weights whose compute copies are fp32 and so fill two places an
  // element.
  std::vector<FlatRange> undivided;

  std::int64_t num_elements() const { return units.empty() ? 0 : units.back().end; }
  std::vector<FlatRange> unit_ranges() const;
  // Elements of weights in these ranges, without what lies between them.
  std::int64_t weights_in(std::span<const FlatRange> ranges) const;
};
WeightLayout weight_layout(const ModelConfig& config, std::span<const StageSpan> stages, DType precision);

enum class Gradients : std::uint8_t { kNone, kKeep };

class Model {
 public:
  // Weights, their bf16 copies (precision kBF16) and gradients are laid out in `weights`, each kind contiguous.
  Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights);
  // The same with the weights of these stages only (see check_stages), in their order. Where embeddings are tied and
  // the rank has the head but does not embed, it has a weight "model.embed_tokens.weight" of its own, whose gradient is
  // the head's share.
  Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights, std::vector<StageSpan> stages);
  // The same on a rank that updates these ranges of the flat weights alone (BucketLayout::owned_by), ascending; others
  // update the rest and send it. In bf16 it has masters of no other elements; in fp32, where the layers read the
  // masters, it has them all.
  Model(const ModelConfig& config, DType precision, Gradients gradients, Arena& weights, std::vector<StageSpan> stages,
        std::vector<FlatRange> owned);
  ~Model();

  const ModelConfig& config() const;
  DType precision() const;
  std::span<const StageSpan> stages() const;
  std::span<Parameter> parameters();
  std::span<const WeightUnit> units() const;
  const Tensor& all_gradients() const;  // every gradient as one flat fp32 tensor, for reduction over ranks
  const Tensor& all_weights() const;    // what the layers read, likewise: fp32, or bf16 (see WeightLayout::undivided)
  // What this rank updates, in the order of the parameters: each as a whole, unless it was told what it owns.
  std::span<const WeightPiece> pieces() const;
  bool is_sharded() const;  // it was told

  // Normal(0, init_std), output projections scaled by 1/sqrt(2 layers); norms 1, biases and sinks 0. The values of a
  // tensor depend on seed and its name only. The compute copies follow.
  void initialize(const Exec& exec, std::uint64_t seed);
  // Refreshes the compute copies of pieces() after master weights were changed from outside; what others own is to be
  // gathered from them.
  void refresh_compute(const Exec& exec);

  // Of a whole model: totals [2] fp64 on the model's device += the loss over this rank's tokens, unscaled, and their
  // number with a label (HeadLoss::totals): the caller reads them when it must, so that no micro-batch waits for
  // another. Collective over the attention's communicator. `activations` is left as found.
  void evaluate(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, const Tensor& totals,
                Arena& activations);
  // The same, and adds grad_scale times the gradient to every parameter's gradient.
  void forward_backward(const Exec& exec, const MicroBatch& batch, AttentionByPattern attention, float grad_scale,
                        const Tensor& totals, Arena& activations);

  // The forward pass alone of one of the stages; see StagePass for training. input [c,E] is absent where the stage
  // embeds; output [c,E], written, is absent where it has the head, as are totals where it has not.
  void evaluate_stage(const StageCall& call, int stage, const Tensor& input, const Tensor& output, const Tensor& totals,
                      Arena& activations);

 private:
  friend class Generator;
  friend class StagePass;
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
// Of these stages of a rank.
std::int64_t count_parameters(const ModelConfig& config, std::span<const StageSpan> stages);

// Bytes the constructor of Model takes from `weights` (exact).
std::int64_t weight_bytes(const ModelConfig& config, DType precision, Gradients gradients);
std::int64_t weight_bytes(const ModelConfig& config, std::span<const StageSpan> stages, DType precision,
                          Gradients gradients);
std::int64_t weight_bytes(const ModelConfig& config, std::span<const StageSpan> stages, DType precision,
                          Gradients gradients, std::span<const FlatRange> owned);

// Peak bytes a StagePass takes from each of its arenas, and evaluate_stage from its own, for this many local tokens
// (exact; tests compare with the arenas). A backward in halves keeps less than that until its first half begins.
std::int64_t kept_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens,
                        BackwardKind backward);
std::int64_t transient_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens,
                             BackwardKind backward);
std::int64_t evaluation_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens);
// Peak bytes forward_backward takes from `activations` (exact): evaluate takes no more.
std::int64_t activation_bytes(const ModelConfig& config, DType precision, std::int64_t tokens);
// Pinned memory of the host that config.offload takes for a pass.
std::int64_t offloaded_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens);
std::int64_t offloaded_bytes(const ModelConfig& config, DType precision, std::int64_t tokens);
// Scratch a pass takes at most from exec.workspace while the attention takes none (see
// ContextAttention::…_workspace_bytes). Where the machine multiplies bf16 itself, room for the library's own scratch is
// reckoned at 4 MiB a thread; on a GPU at 32 MiB.
std::int64_t model_workspace_bytes(const ModelConfig& config, Device device, DType precision, std::int64_t tokens,
                                   int num_threads);
// Of these stages of a rank.
std::int64_t model_workspace_bytes(const ModelConfig& config, std::span<const StageSpan> stages, Device device,
                                   DType precision, std::int64_t tokens, int num_threads);

}  // namespace longspan
