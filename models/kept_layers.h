// KeptLayers: the tensors between layers and around their attention, from forward to backward: all of them in the
// activation arena, or, with an offload, three inputs and two attention outputs that take turns.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "models/activation_offload.h"
#include "models/model_config.h"
#include "models/size_counter.h"

namespace longspan {

// What a layer reads in backward whatever it computes again.
struct KeptLayer {
  Tensor input;          // [c,E]
  Tensor attention_out;  // [c,H,D]
  Tensor lse;            // [c,H] fp32
  std::array<Tensor, 3> tensors() const { return {input, attention_out, lse}; }
};

// For one micro-batch: forward of layers 0 … L-1, then backward of L-1 … 0, each between its begin and its end.
class KeptLayers {
 public:
  // Memory of c tokens. Allocator: Arena or SizeCounter.
  template <class Allocator>
  KeptLayers(Allocator& arena, const ModelConfig& config, DType precision, std::int64_t tokens,
             ActivationOffload* offload)
      : layers_(config.layers), offload_(offload) {
    constexpr MemoryCategory kCategory = MemoryCategory::kActivations;
    const bool takes_turns = config.offload == Offload::kActivations;
    const std::int64_t streams = takes_turns ? std::min<std::int64_t>(layers_ + 1, 3) : layers_ + 1;
    for (std::int64_t i = 0; i < streams; ++i)
      streams_.push_back(arena.allocate("stream between layers", kCategory, precision, {tokens, config.hidden}));
    const std::int64_t attentions = takes_turns ? std::min<std::int64_t>(layers_, 2) : layers_;
    for (std::int64_t i = 0; i < attentions; ++i) {
      attention_outs_.push_back(
          arena.allocate("attention out", kCategory, precision, {tokens, config.heads, config.head_dim}));
      lses_.push_back(arena.allocate("lse", kCategory, DType::kF32, {tokens, config.heads}));
    }
    saved_layers_ = takes_turns ? std::max<std::int64_t>(layers_ - 2, 0) : 0;
    if (offload_ && saved_layers_ > 0) offload_->begin(saved_layers_, bytes_of_layer());
  }

  // Where layer l reads and writes in forward; layer L's input is what the last one wrote.
  Tensor stream(std::int64_t layer) const { return streams_[index(layer, streams_)]; }
  KeptLayer begin_forward(const Exec& exec, std::int64_t layer);
  void end_forward(const Exec& exec, std::int64_t layer);

  KeptLayer begin_backward(const Exec& exec, std::int64_t layer);
  void end_backward(const Exec& exec, std::int64_t layer);

  // Pinned memory that an offload takes.
  std::int64_t offloaded_bytes() const { return saved_layers_ > 0 ? saved_layers_ * bytes_of_layer() : 0; }

 private:
  static std::size_t index(std::int64_t turn, const std::vector<Tensor>& tensors) {
    return static_cast<std::size_t>(turn) % tensors.size();
  }
  std::int64_t bytes_of_layer() const {
    return streams_.front().num_bytes() + attention_outs_.front().num_bytes() + lses_.front().num_bytes();
  }
  KeptLayer forward_place(std::int64_t layer) const;
  KeptLayer backward_place(std::int64_t layer) const;

  const std::int64_t layers_;
  ActivationOffload* const offload_;
  std::vector<Tensor> streams_, attention_outs_, lses_;
  std::int64_t saved_layers_ = 0;  // the first ones; the last two stay where they are
};

}  // namespace longspan
