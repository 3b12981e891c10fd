#include "models/kept_layers.h"

namespace longspan {

Tensor KeptLayers::stream(std::int64_t layer) const {
  if (layer == 0 && !span_.embeds) return ends_.input;
  if (layer == span_.layers() && !span_.has_head) return ends_.output;
  return streams_[index(layer, streams_)];
}

Tensor KeptLayers::free_in_backward() const {
  return takes_turns_ || span_.has_head ? streams_[index(span_.layers(), streams_)] : Tensor();
}

std::int64_t KeptLayers::bytes_of_layer() const {
  std::int64_t bytes = streams_.front().num_bytes();
  if (attention_outs_.front()) bytes += attention_outs_.front().num_bytes() + lses_.front().num_bytes();
  return bytes;
}

KeptLayer KeptLayers::forward_place(std::int64_t layer) const {
  return {stream(layer), attention_outs_[index(layer, attention_outs_)], lses_[index(layer, lses_)]};
}

// A layer comes back to where the last layer of its parity was, so that the third stream, which held the last output,
// is free for gradients all through backward.
KeptLayer KeptLayers::backward_place(std::int64_t layer) const {
  if (layer >= saved_layers_) return forward_place(layer);
  KeptLayer place = forward_place(span_.layers() - 1 - (span_.layers() - 1 - layer) % 2);
  if (layer == 0 && !span_.embeds) place.input = ends_.input;
  return place;
}

std::vector<Tensor> KeptLayers::leaving(std::int64_t layer, const KeptLayer& place) const {
  std::vector<Tensor> tensors;
  if (layer > 0 || span_.embeds) tensors.push_back(place.input);
  if (place.attention_out) tensors.insert(tensors.end(), {place.attention_out, place.lse});
  return tensors;
}

KeptLayer KeptLayers::begin_forward(const Exec& exec, std::int64_t layer) {
  // This layer writes where the one before the last was: its output into that one's input.
  if (layer >= 2 && layer - 2 < saved_layers_) offload_->after_save(exec, layer - 2);
  return forward_place(layer);
}

void KeptLayers::end_forward(const Exec& exec, std::int64_t layer) {
  if (layer < saved_layers_) offload_->save(exec, layer, leaving(layer, forward_place(layer)));
}

KeptLayer KeptLayers::begin_backward(const Exec& exec, std::int64_t layer) {
  if (layer < saved_layers_) offload_->after_fetch(exec, layer);
  return backward_place(layer);
}

void KeptLayers::end_backward(const Exec& exec, std::int64_t layer) {
  // Comes while the layer in between runs.
  const std::int64_t next = layer - 2;
  if (next >= 0 && next < saved_layers_) offload_->fetch(exec, next, leaving(next, backward_place(next)));
}

}  // namespace longspan
