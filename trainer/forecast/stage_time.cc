#include "trainer/forecast/stage_time.h"

#include "kernels/core/error.h"

namespace longspan {

StageTimes::StageTimes(const ModelConfig& model, const Machine& machine)
    : model_(model),
      seconds_per_operator_(machine.seconds_per_operator),
      seconds_per_byte_(1 / machine.bytes_per_second),
      layer_(layer_time(model, machine)),
      ends_(ends_time(model, machine)),
      operators_(layer_operators(model)),
      carry_(carry_bytes(model, machine.precision)) {}

StageTime StageTimes::of(const StageSpan& span, const ContextTime& context) const {
  const std::vector<AttentionTime>& attention = context.layers;
  LS_CHECK(attention.size() == model_.pattern.size(), "{} attentions for a pattern of {}", attention.size(),
           model_.pattern.size());
  const double tokens = static_cast<double>(context.tokens);
  StageTime stage{.cost = {0, 0, 0}};
  const auto operators = [&](int count) { return count * seconds_per_operator_; };
  for (std::int64_t l = span.begin; l < span.end; ++l) {
    const AttentionTime& core = attention[static_cast<std::size_t>(l) % attention.size()];
    const double core_forward = core.forward.seconds + tokens * carry_.forward * seconds_per_byte_;
    const double core_backward = core.backward.seconds + tokens * carry_.backward * seconds_per_byte_;
    const double pre = tokens * layer_.pre_forward + operators(operators_.pre_forward);
    const double post = tokens * layer_.post_forward + operators(operators_.post_forward);
    stage.cost.forward += pre + core_forward + post + operators(operators_.attention);
    stage.cost.input_gradient +=
        tokens * layer_.input_gradient + core_backward + operators(operators_.input_gradient + operators_.attention);
    stage.cost.weight_gradient += tokens * layer_.weight_gradient + operators(operators_.weight_gradient);
    stage.exposed_context += core.forward.exposed_seconds() + core.backward.exposed_seconds();
    const Recompute recompute = recompute_of(model_, l - span.begin);
    if (recompute == Recompute::kNone) continue;
    stage.cost.input_gradient +=
        tokens * layer_.recompute + operators(operators_.pre_forward + operators_.post_forward - 1);
    if (recompute != Recompute::kFull) continue;
    stage.cost.input_gradient += core_forward + operators(operators_.attention);
    stage.exposed_context += core.forward.exposed_seconds();
  }
  if (span.embeds) {
    stage.cost.forward += tokens * ends_.embedding_forward + operators(1);
    stage.cost.weight_gradient += tokens * ends_.embedding_backward + operators(1);
  }
  if (span.has_head) stage.cost.input_gradient += tokens * ends_.head + operators(3);
  return stage;
}

}  // namespace longspan
