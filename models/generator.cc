#include "models/generator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/host_copy.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/layer_ops.h"
#include "kernels/ops/matmul.h"
#include "models/layers/layer_list.h"
#include "models/model_impl.h"
#include "models/size_counter.h"

namespace longspan {
namespace {

constexpr MemoryCategory kActivations = MemoryCategory::kActivations;

// A long prompt is fed in parts of this many tokens, so that scratch does not grow with it.
constexpr std::int64_t kPrefillTokens = 256;

struct LayerCache {
  Tensor k, v;  // [max_tokens, Hkv, D]
};

// Taken for as long as the generator lives. Allocator: Arena or SizeCounter.
struct Caches {
  std::vector<LayerCache> layers;
  Tensor tokens, positions;  // [kPrefillTokens] int32, or fewer
  Tensor logits;             // [1, V] fp32

  template <class Allocator>
  Caches(Allocator& arena, const ModelConfig& config, DType precision, std::int64_t max_tokens) {
    const std::int64_t part = std::min(kPrefillTokens, max_tokens);
    for (std::int64_t l = 0; l < config.layers; ++l) {
      const auto take = [&](std::string_view name) {
        return arena.allocate(name, kActivations, precision, {max_tokens, config.kv_heads, config.head_dim});
      };
      const Tensor k = take("cached k");
      layers.push_back({k, take("cached v")});
    }
    tokens = arena.allocate("tokens", kActivations, DType::kI32, {part});
    positions = arena.allocate("positions", kActivations, DType::kI32, {part});
    logits = arena.allocate("logits", kActivations, DType::kF32, {1, config.vocab});
  }
};

// Attention of one step, beside what the layer's phases take.
struct StepAttention {
  Tensor carry, lse;  // [c,H,D], [c,H] fp32
  Tensor out;         // [c,H,D]

  template <class Allocator>
  StepAttention(Allocator& arena, const ModelConfig& config, DType precision, std::int64_t tokens) {
    carry = arena.allocate("attention carry", kActivations, DType::kF32, {tokens, config.heads, config.head_dim});
    lse = arena.allocate("lse", kActivations, DType::kF32, {tokens, config.heads});
    out = arena.allocate("attention out", kActivations, precision, {tokens, config.heads, config.head_dim});
  }
};

}  // namespace

struct Generator::Impl {
  Impl(Model::Impl& the_model, const Exec& the_exec, Arena& the_arena, std::int64_t the_max_tokens)
      : model(the_model),
        layers(model.whole("generation").layers),
        exec(the_exec),
        arena(the_arena),
        max_tokens(the_max_tokens),
        caches(arena, model.config, model.precision, max_tokens),
        logits(static_cast<std::size_t>(model.config.vocab)) {}

  void feed_part(std::span<const std::int32_t> part);
  void attend(std::int64_t layer, const SplitLayer& split, const LayerState& state, const StepAttention& step);

  Model::Impl& model;
  const std::vector<std::unique_ptr<SplitLayer>>& layers;
  Exec exec;
  Arena& arena;
  std::int64_t max_tokens;
  std::int64_t fed = 0;
  Caches caches;
  std::vector<float> logits;  // on the host
};

// Appends the new keys and values to the cache and lets the new queries see what their mask allows.
void Generator::Impl::attend(std::int64_t layer, const SplitLayer& split, const LayerState& state,
                             const StepAttention& step) {
  const ModelConfig& config = model.config;
  const AttentionKind& kind = config.attention_of(layer);
  const LayerCache& cache = caches.layers[static_cast<std::size_t>(layer)];
  const std::int64_t new_tokens = state.q.size(0), end = fed + new_tokens;
  copy_tensor(exec, state.k, cache.k.narrow(0, fed, end));
  copy_tensor(exec, state.v, cache.v.narrow(0, fed, end));

  const std::int64_t first_key = kind.window > 0 ? std::max<std::int64_t>(fed - kind.window + 1, 0) : 0;
  // Query row i stands at fed + i, key row j at first_key + j.
  const std::int64_t same = fed - first_key;
  AttentionTask task{.q_end = new_tokens, .kv_end = end - first_key, .head_end = config.heads, .band = {.hi = same}};
  if (kind.window > 0) task.band.lo = same - kind.window + 1;
  const float scale = kind.scale.value_or(1 / std::sqrt(static_cast<float>(config.head_dim)));
  clear_carry(exec, step.carry, step.lse);
  attention_forward(exec, {.desc = {.device = exec.device,
                                    .dtype = model.precision,
                                    .heads = config.heads,
                                    .kv_heads = config.kv_heads,
                                    .head_dim = config.head_dim,
                                    .value_dim = config.head_dim,
                                    .scale = scale},
                           .q = state.q,
                           .k = cache.k.narrow(0, first_key, end),
                           .v = cache.v.narrow(0, first_key, end),
                           .out = step.carry,
                           .lse = step.lse,
                           .tasks = {&task, 1}});
  finish_forward(exec, step.carry, step.lse, split.sink().value, step.out, step.lse);
}

void Generator::Impl::feed_part(std::span<const std::int32_t> part) {
  const auto count = static_cast<std::int64_t>(part.size());
  const Tensor tokens = caches.tokens.narrow(0, 0, count), positions = caches.positions.narrow(0, 0, count);
  fill_on_host(exec, tokens, [&](const Tensor& ids) { std::copy(part.begin(), part.end(), ids.get<std::int32_t>()); });
  fill_on_host(exec, positions, [&](const Tensor& places) {
    std::iota(places.get<std::int32_t>(), places.get<std::int32_t>() + count, static_cast<std::int32_t>(fed));
  });

  Arena::Scope scope(arena);
  const StageShape shape = model.shape_of(whole_model(model.config), count);
  const RotaryTables tables = shape.new_rotary_tables(arena);
  model.fill_rotary_tables(exec, positions, tables);
  const LayerCall call{exec, arena, arena, arena, tables.cos, tables.sin};
  const Tensor x = shape.new_stream(arena, "stream");
  embedding_forward(exec, tokens, model.embedding.value, x);
  for (std::size_t l = 0; l < layers.size(); ++l) {
    Arena::Scope layer_scope(arena);
    const SplitLayer& layer = *layers[l];
    const auto state = layer.make_state();
    const StepAttention step(arena, model.config, model.precision, count);
    const Tensor output = shape.new_stream(arena, "layer output");
    state->input = x;
    state->attention_out = step.out;
    state->lse = step.lse;
    layer.pre_forward(call, *state);
    attend(static_cast<std::int64_t>(l), layer, *state, step);
    layer.post_forward(call, *state, output);
    copy_tensor(exec, output, x);
  }
  fed += count;
  const Tensor last = x.narrow(0, count - 1, count);
  model.normalize(exec, last, last, {});
  matmul(exec, {.a = last, .b = model.head.value, .c = caches.logits, .bias = {}, .b_layout = Layout::kTransposed});
}

Generator::Generator(Model& model, const Exec& exec, Arena& cache, std::int64_t max_tokens) {
  LS_REQUIRE(kUsage, max_tokens > 0, "a cache of {} tokens; it must hold the prompt and what is to follow", max_tokens);
  for (const AttentionKind& kind : model.config().pattern)
    LS_REQUIRE(kUsage, kind.causal, "model.attention: causal: false sees the future, which generation does not have");
  impl_ = std::make_unique<Impl>(*model.impl_, exec, cache, max_tokens);
}
Generator::~Generator() = default;

Tensor Generator::feed(std::span<const std::int32_t> tokens) {
  LS_REQUIRE(kUsage, !tokens.empty(), "nothing to feed; give a prompt of at least one token");
  const auto count = static_cast<std::int64_t>(tokens.size());
  LS_REQUIRE(kUsage, count <= impl_->max_tokens - impl_->fed,
             "{} more tokens do not fit: the cache holds {} of {}; ask for fewer tokens or a larger cache", count,
             impl_->fed, impl_->max_tokens);
  for (const std::int32_t token : tokens)
    LS_REQUIRE(kData, 0 <= token && token < impl_->model.config.vocab,
               "token {} is outside the model's vocabulary of {}; check that this is the tokenizer it was trained with",
               token, impl_->model.config.vocab);
  for (std::size_t begin = 0; begin < tokens.size(); begin += kPrefillTokens)
    impl_->feed_part(tokens.subspan(begin, std::min<std::size_t>(kPrefillTokens, tokens.size() - begin)));
  const Tensor logits(impl_->logits.data(), DType::kF32, {impl_->model.config.vocab});
  copy_tensor(impl_->exec, impl_->caches.logits, logits);
  impl_->exec.runtime->synchronize(impl_->exec.stream);
  return logits;
}

std::vector<std::int32_t> Generator::generate(std::span<const std::int32_t> prompt, std::int64_t max_new,
                                              std::int32_t end, const Sampling& sampling,
                                              const std::function<void(std::int32_t)>& on_token) {
  check_sampling(sampling);
  std::vector<std::int32_t> made;
  if (max_new <= 0) return made;
  std::mt19937_64 random(sampling.seed);
  Tensor logits = feed(prompt);
  while (true) {
    const std::span<const float> values(logits.get<float>(), static_cast<std::size_t>(logits.numel()));
    made.push_back(sample(values, sampling, random));
    if (on_token) on_token(made.back());
    if (made.back() == end || static_cast<std::int64_t>(made.size()) == max_new) return made;
    logits = feed({&made.back(), 1});
  }
}

std::int64_t Generator::bytes(const ModelConfig& config, DType precision, std::int64_t max_tokens) {
  const std::int64_t part = std::min(kPrefillTokens, max_tokens);
  SizeCounter counter;
  Caches(counter, config, precision, max_tokens);
  const StageShape shape{config, whole_model(config), precision, part};
  shape.new_rotary_tables(counter);
  shape.new_stream(counter, "stream");
  shape.new_stream(counter, "layer output");
  StepAttention(counter, config, precision, part);
  std::int64_t layer = 0;
  for (std::int64_t l = 0; l < config.layers; ++l) {
    const LayerBytes bytes = layer_kind(config.attention_of(l).kind).bytes(config, precision, part);
    layer = std::max(layer, bytes.kept_by_forward() + bytes.post_forward.scratch);
  }
  return counter.used_bytes() + layer;
}

}  // namespace longspan
