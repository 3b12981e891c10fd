#include "trainer/loop/attention_set.h"

#include <algorithm>
#include <cmath>

namespace longspan {

AttentionDesc attention_desc(const ModelConfig& model, const AttentionKind& kind, DType dtype, Device device) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(model.head_dim));
  return {.device = device,
          .dtype = dtype,
          .heads = model.heads,
          .kv_heads = model.kv_heads,
          .head_dim = model.head_dim,
          .value_dim = model.head_dim,
          .scale = kind.scale.value_or(static_cast<float>(scale)),
          .origin = model.softmax_origin};
}

HopFormats hop_formats(const ParallelConfig& parallel) {
  const auto format_of = [](const std::string& name) {
    if (name == "bf16") return HopFormat::kBf16;
    return name == "int8" ? HopFormat::kInt8 : HopFormat::kPlain;
  };
  return {.keys = format_of(parallel.compress_keys), .key_gradients = format_of(parallel.compress_gradients)};
}

AttentionSet::AttentionSet(const ModelConfig& model, DType dtype, Device device,
                           std::span<const std::shared_ptr<const ContextPlan>> plans, Communicator& comm,
                           const HopFormats& formats) {
  for (std::size_t i = 0; i < model.pattern.size(); ++i) {
    const AttentionDesc desc = attention_desc(model, model.pattern[i], dtype, device);
    ContextAttention* shared = nullptr;
    for (std::size_t j = 0; j < i && !shared; ++j)
      if (plans[j] == plans[i] && attention_desc(model, model.pattern[j], dtype, device).scale == desc.scale)
        shared = by_pattern_[j];
    if (!shared)
      shared = owned_
                   .emplace_back(std::make_unique<ContextAttention>(
                       plans[i], comm, desc, ContextOptions{.formats = formats, .device = device}))
                   .get();
    by_pattern_.push_back(shared);
  }
}

std::int64_t AttentionSet::workspace_bytes() const {
  std::int64_t most = 0;
  for (const auto& attention : owned_)
    most = std::max({most, attention->forward_workspace_bytes(), attention->backward_workspace_bytes()});
  return most;
}

double AttentionSet::exposed_seconds() const {
  double seconds = 0;
  for (const auto& attention : owned_) seconds += attention->totals().exposed_seconds;
  return seconds;
}

}  // namespace longspan
