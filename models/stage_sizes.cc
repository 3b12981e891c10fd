// What the passes of a stage take, to the byte, before they run.
#include <algorithm>

#include "models/kept_layers.h"
#include "models/layers/layer_list.h"
#include "models/parameters.h"
#include "models/size_counter.h"

namespace longspan {
namespace {

// Of one layer, besides its place in KeptLayers.
struct LayerPassBytes {
  std::int64_t kept = 0;                         // once its backward, or the first half of it, is done
  std::int64_t in_forward = 0, in_backward = 0;  // transient, at most
};

LayerPassBytes layer_bytes(const StageShape& shape, std::int64_t place, BackwardKind backward) {
  const AttentionKind& attention = shape.config.attention_of(shape.span.begin + place);
  const LayerBytes bytes = layer_kind(attention.kind).bytes(shape.config, shape.precision, shape.tokens);
  const Recompute recompute = recompute_of(shape.config, place);
  SizeCounter out, lse, gradients;
  if (recompute == Recompute::kFull) {
    shape.new_attention_out(out);
    shape.new_lse(lse);
  }
  shape.new_attention_gradients(gradients);

  LayerPassBytes result;
  PhaseBytes again;  // taken by forward and once more in backward
  if (recompute == Recompute::kNone) {
    result.kept = bytes.kept_by_forward();
  } else {
    again.saved = bytes.pre_forward.saved + bytes.post_forward.saved + out.used_bytes();
    again.passing = bytes.pre_forward.passing + bytes.post_forward.passing + lse.used_bytes();
  }
  result.in_forward = again.kept() + bytes.post_forward.scratch;
  const PhaseBytes& post = bytes.post_backward;
  if (backward == BackwardKind::kHalves) {
    result.kept += again.saved + post.saved + gradients.used_bytes();
    result.in_backward = again.passing + post.passing + post.scratch;
  } else {
    result.in_backward = again.kept() + post.kept() + std::max(post.scratch, gradients.used_bytes());
  }
  return result;
}

// The gradients of streams that a backward takes: the head's, and one more where no stream is free.
std::int64_t gradient_stream_bytes(const StageShape& shape, const KeptLayers& kept) {
  const StageSpan& span = shape.span;
  SizeCounter counter;
  if (span.has_head && span.layers() > 0) shape.new_stream(counter, "of the head");
  if (!kept.free_in_backward() && span.layers() > (span.embeds ? 0 : 1)) shape.new_stream(counter, "free");
  return counter.used_bytes();
}

}  // namespace

std::int64_t weight_bytes(const ModelConfig& config, std::span<const StageSpan> stages, DType precision,
                          Gradients gradients) {
  return ParameterStore::bytes(unit_specs(config, stages), precision, gradients);
}

std::int64_t weight_bytes(const ModelConfig& config, std::span<const StageSpan> stages, DType precision,
                          Gradients gradients, std::span<const FlatRange> owned) {
  return ParameterStore::bytes(unit_specs(config, stages), precision, gradients, owned);
}

std::int64_t weight_bytes(const ModelConfig& config, DType precision, Gradients gradients) {
  const StageSpan whole = whole_model(config);
  return weight_bytes(config, {&whole, 1}, precision, gradients);
}

std::int64_t kept_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens,
                        BackwardKind backward) {
  const StageShape shape{config, stage, precision, tokens};
  SizeCounter counter;
  shape.new_rotary_tables(counter);
  const KeptLayers between(counter, shape, {}, nullptr);
  std::int64_t bytes = counter.used_bytes();
  if (backward == BackwardKind::kHalves) bytes += gradient_stream_bytes(shape, between);
  for (std::int64_t l = 0; l < stage.layers(); ++l) bytes += layer_bytes(shape, l, backward).kept;
  return bytes;
}

std::int64_t transient_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens,
                             BackwardKind backward) {
  const StageShape shape{config, stage, precision, tokens};
  SizeCounter kept, head;
  const KeptLayers between(kept, shape, {}, nullptr);
  if (stage.has_head) {
    shape.new_final_rstd(head);
    shape.new_stream(head, "final normed");
  }
  std::int64_t in_forward = 0, in_backward = head.used_bytes();
  for (std::int64_t l = 0; l < stage.layers(); ++l) {
    const LayerPassBytes bytes = layer_bytes(shape, l, backward);
    in_forward = std::max(in_forward, bytes.in_forward);
    in_backward = std::max(in_backward, bytes.in_backward);
  }
  if (backward == BackwardKind::kWhole) in_backward += gradient_stream_bytes(shape, between);
  return std::max(in_forward, in_backward);
}

std::int64_t activation_bytes(const ModelConfig& config, DType precision, std::int64_t tokens) {
  const StageSpan whole = whole_model(config);
  return kept_bytes(config, whole, precision, tokens, BackwardKind::kWhole) +
         transient_bytes(config, whole, precision, tokens, BackwardKind::kWhole);
}

std::int64_t offloaded_bytes(const ModelConfig& config, const StageSpan& stage, DType precision, std::int64_t tokens) {
  SizeCounter counter;
  return KeptLayers(counter, {config, stage, precision, tokens}, {}, nullptr).offloaded_bytes();
}

std::int64_t offloaded_bytes(const ModelConfig& config, DType precision, std::int64_t tokens) {
  return offloaded_bytes(config, whole_model(config), precision, tokens);
}

}  // namespace longspan
