#include "models/kept_layers.h"

namespace longspan {

KeptLayer KeptLayers::forward_place(std::int64_t layer) const {
  return {stream(layer), attention_outs_[index(layer, attention_outs_)], lses_[index(layer, lses_)]};
}

// A layer comes back to where the last layer of its parity was, so that the third stream, which held the last output,
// is free for gradients all through backward.
KeptLayer KeptLayers::backward_place(std::int64_t layer) const {
  if (layer >= saved_layers_) return forward_place(layer);
  return forward_place(layers_ - 1 - (layers_ - 1 - layer) % 2);
}

KeptLayer KeptLayers::begin_forward(const Exec& exec, std::int64_t layer) {
  // This layer writes where the one before the last was: its output into that one's input.
  if (layer >= 2 && layer - 2 < saved_layers_) offload_->after_save(exec, layer - 2);
  return forward_place(layer);
}

void KeptLayers::end_forward(const Exec& exec, std::int64_t layer) {
  if (layer < saved_layers_) offload_->save(exec, layer, forward_place(layer).tensors());
}

KeptLayer KeptLayers::begin_backward(const Exec& exec, std::int64_t layer) {
  if (layer < saved_layers_) offload_->after_fetch(exec, layer);
  return backward_place(layer);
}

void KeptLayers::end_backward(const Exec& exec, std::int64_t layer) {
  // Comes while the layer in between runs.
  if (layer >= 2 && layer - 2 < saved_layers_) offload_->fetch(exec, layer - 2, backward_place(layer - 2).tensors());
}

}  // namespace longspan
