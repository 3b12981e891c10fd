// StagePass: one micro-batch through one stage of a model, forward and backward, each when the caller says.
#pragma once

#include <memory>

#include "models/model.h"

namespace longspan {

// Where a pass keeps what it needs. `kept` is of this pass alone, from forward to the end of its backward; what is
// taken from `transient` is released when each call returns. They may be one, but for a backward in halves.
struct PassMemory {
  Arena& kept;
  Arena& transient;
};

// Calls come in the order forward, backward (or input_gradient, weight_gradient), each once, and are collective over
// the attention's communicator but for weight_gradient. Results are the same, bit for bit, however a model is cut into
// stages; and for both kinds of backward, as long as micro-batches come in the same order in each of their halves.
class StagePass {
 public:
  using Call = StageCall;

  // `stage` counts among those of the model. A backward in halves keeps all it needs where it is: Error(kUsage) with an
  // offload.
  StagePass(Model& model, int stage, const Call& call, const PassMemory& memory, BackwardKind backward);
  // Releases what it took from memory.kept.
  ~StagePass();
  StagePass(const StagePass&) = delete;
  StagePass& operator=(const StagePass&) = delete;

  // input [c,E] of the model's precision, absent where the stage embeds, is read until the backward, or its first half,
  // is done. output [c,E] is written; absent where the stage has the head, whose loss is taken in backward, with its
  // gradients.
  void forward(const Tensor& input, const Tensor& output);

  struct Gradient {
    Tensor doutput;        // [c,E] of the output; absent with the head
    Tensor dinput;         // [c,E] of the input, written; absent where the stage embeds
    float grad_scale = 1;  // with the head: of each token's loss in the gradients
    Tensor totals{};       // [2] fp64, with the head: HeadLoss::totals
  };
  // Adds to the gradients of all the stage's weights. doutput is overwritten.
  void backward(const Gradient& gradient);
  // Writes dinput and adds to the gradients of those weights that come with it: the head's, all norms' and sinks', and
  // matrices of feed-forward blocks taken in chunks. doutput must stay as it is until weight_gradient.
  void input_gradient(const Gradient& gradient);
  // The rest of them.
  void weight_gradient();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longspan
