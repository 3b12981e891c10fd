// KeptLayers: the tensors between a stage's layers and around their attention, from forward to backward: all of them in
// the pass's memory, or, with an offload, three inputs and two attention outputs that take turns.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/activation_offload.h"
#include "models/stage_shape.h"

namespace longspan {

// Where a stage's first layer reads and its last one writes: the caller's tensors [c,E], absent where the stage embeds
// and where it has the head.
struct StageEnds {
  Tensor input, output;
};

// What a layer reads in backward whatever it computes again.
struct KeptLayer {
  Tensor input;          // [c,E]
  Tensor attention_out;  // [c,H,D], absent with Recompute::kFull
  Tensor lse;            // [c,H] fp32, likewise
};

// For one micro-batch: forward of the stage's layers 0 … L-1, then backward of L-1 … 0, each between its begin and its
// end. Layers count from the stage's first.
class KeptLayers {
 public:
  // Allocator: Arena, or SizeCounter without ends.
  template <class Allocator>
  KeptLayers(Allocator& arena, const StageShape& shape, const StageEnds& ends, ActivationOffload* offload)
      : span_(shape.span), ends_(ends), offload_(offload) {
    const std::int64_t layers = span_.layers();
    const bool takes_turns = shape.config.offload == Offload::kActivations;
    const std::int64_t streams = takes_turns ? std::min<std::int64_t>(layers + 1, 3) : layers + 1;
    for (std::int64_t i = 0; i < streams; ++i)
      streams_.push_back(takes_turns || !is_callers(i) ? shape.new_stream(arena, "stream between layers") : Tensor());
    const std::int64_t attentions = takes_turns ? std::min<std::int64_t>(layers, 2) : layers;
    for (std::int64_t i = 0; i < attentions; ++i) {
      const bool keeps = recompute_of(shape.config, i) != Recompute::kFull;
      attention_outs_.push_back(keeps ? shape.new_attention_out(arena) : Tensor());
      lses_.push_back(keeps ? shape.new_lse(arena) : Tensor());
    }
    takes_turns_ = takes_turns;
    saved_layers_ = takes_turns ? std::max<std::int64_t>(layers - 2, 0) : 0;
    if (offload_ && saved_layers_ > 0) offload_->begin(saved_layers_, bytes_of_layer());
  }

  // Where layer l reads and writes in forward; layer L's input is what the last one wrote.
  Tensor stream(std::int64_t layer) const;
  // A stream that nobody reads once the head, if the stage has it, is done; absent: there is none.
  Tensor free_in_backward() const;

  KeptLayer begin_forward(const Exec& exec, std::int64_t layer);
  void end_forward(const Exec& exec, std::int64_t layer);

  KeptLayer begin_backward(const Exec& exec, std::int64_t layer);
  void end_backward(const Exec& exec, std::int64_t layer);

  // Pinned memory that an offload takes.
  std::int64_t offloaded_bytes() const { return saved_layers_ > 0 ? saved_layers_ * bytes_of_layer() : 0; }

 private:
  bool is_callers(std::int64_t stream) const {
    return (stream == 0 && !span_.embeds) || (stream == span_.layers() && !span_.has_head);
  }
  static std::size_t index(std::int64_t turn, const std::vector<Tensor>& tensors) {
    return static_cast<std::size_t>(turn) % tensors.size();
  }
  std::int64_t bytes_of_layer() const;
  KeptLayer forward_place(std::int64_t layer) const;
  KeptLayer backward_place(std::int64_t layer) const;
  // What of a layer at this place an offload copies away and back: all but the caller's.
  std::vector<Tensor> leaving(std::int64_t layer, const KeptLayer& place) const;

  const StageSpan span_;
  const StageEnds ends_;
  ActivationOffload* const offload_;
  std::vector<Tensor> streams_, attention_outs_, lses_;
  bool takes_turns_ = false;
  std::int64_t saved_layers_ = 0;  // the first ones; the last two stay where they are
};

}  // namespace longspan
