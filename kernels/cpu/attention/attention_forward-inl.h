// Forward attention of one block: online softmax over key tiles, lanes across the vector. Included once per target.
//
// Scores are kept transposed, [key][lane], so that the maximum, the sum and the rescaling of a row never cross lanes.
#if defined(LONGSPAN_ATTENTION_FORWARD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGSPAN_ATTENTION_FORWARD_INL_H
#undef LONGSPAN_ATTENTION_FORWARD_INL_H
#else
#define LONGSPAN_ATTENTION_FORWARD_INL_H
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <span>

#include "kernels/cpu/attention/attention_blocks.h"
#include "kernels/cpu/attention/attention_kernels.h"
#include "kernels/cpu/attention/block_lanes-inl.h"
#include "kernels/cpu/attention/tile_products-inl.h"
#include "kernels/cpu/attention/vector_exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct ForwardScratch {
  ForwardScratch(const BlockShape& shape, const AttentionDesc& desc, float* memory) {
    const std::int64_t lanes = round_up(shape.block_heads * shape.block_rows, kPanel);
    ScratchCursor cursor(memory);
    query = cursor.take(lanes * desc.head_dim);
    out = cursor.take(lanes * desc.value_dim);
    keys = cursor.take(shape.key_tile * desc.head_dim);
    values = cursor.take(shape.key_tile * desc.value_dim);
    scores = cursor.take(shape.key_tile * kPanel);
    maximum = cursor.take(lanes);
    sum = cursor.take(lanes);
    num_floats = cursor.used();
  }

  float* query;    // [panel][D][kPanel]
  float* out;      // [panel][Dv][kPanel], not yet divided by the sum
  float* keys;     // [key_tile][D]
  float* values;   // [key_tile][Dv]
  float* scores;   // [key_tile][kPanel]
  float* maximum;  // [lane] of the scores q . k, unscaled
  float* sum;      // [lane] of exp(scale * (score - maximum))
  std::int64_t num_floats = 0;
};

// Scores become probabilities relative to the running maximum; out and sum follow it. `log2_scale` turns a difference
// of scores into the exponent of 2.
HWY_INLINE void softmax_panel(std::int64_t size, float log2_scale, float* HWY_RESTRICT scores,
                              float* HWY_RESTRICT maximum, float* HWY_RESTRICT sum, std::int64_t value_dim,
                              float* HWY_RESTRICT out) {
  const Lanes d;
  const Floats factor = hn::Set(d, log2_scale);
  const Floats nothing = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (std::int64_t v = 0; v < kPanel; v += kVector) {
    const Floats before = hn::Load(d, maximum + v);
    Floats top = before;
    for (std::int64_t j = 0; j < size; ++j) top = hn::Max(hn::Load(d, scores + j * kPanel + v), top);
    // A lane that has seen no key measures from 0, so that no difference of infinities arises.
    const Floats origin = hn::IfThenElse(hn::Eq(top, nothing), hn::Zero(d), top);
    if (!hn::AllTrue(d, hn::Eq(before, top))) {
      const Floats shrink = exp2_nonpositive(d, hn::Mul(hn::Sub(before, origin), factor));
      hn::Store(top, d, maximum + v);
      hn::Store(hn::Mul(hn::Load(d, sum + v), shrink), d, sum + v);
      for (std::int64_t e = 0; e < value_dim; ++e) {
        float* row = out + e * kPanel + v;
        hn::Store(hn::Mul(hn::Load(d, row), shrink), d, row);
      }
    }
    Floats total = hn::Zero(d);
    for (std::int64_t j = 0; j < size; ++j) {
      float* row = scores + j * kPanel + v;
      const Floats p = exp2_nonpositive(d, hn::Mul(hn::Sub(hn::Load(d, row), origin), factor));
      hn::Store(p, d, row);
      total = hn::Add(total, p);
    }
    hn::Store(hn::Add(hn::Load(d, sum + v), total), d, sum + v);
  }
}

// Merges what the block has gathered into the carry: with x = lse_here - lse_carry the two parts weigh sigmoid(x) and
// sigmoid(-x), each formed from an exponent that is not positive.
HWY_INLINE void merge_block(const AttentionForward& args, const Block& block, float scale, const ForwardScratch& s) {
  const std::int64_t value_dim = args.desc.value_dim;
  for (std::int64_t lane = 0; lane < block.num_lanes(); ++lane) {
    if (s.sum[lane] == 0.0f) continue;
    const float here = scale * s.maximum[lane] + std::log(s.sum[lane]);
    const std::int64_t row = block.row_begin + lane / block.num_heads;
    const std::int64_t head = block.head_begin + lane % block.num_heads;
    float& lse = args.lse.get<float>()[row * args.lse.stride[0] + head * args.lse.stride[1]];
    float* HWY_RESTRICT out = lane_row<float>(args.out, block, lane);
    const float* HWY_RESTRICT from = s.out + lane / kPanel * value_dim * kPanel + lane % kPanel;
    if (lse == -std::numeric_limits<float>::infinity()) {
      const float weight = 1.0f / s.sum[lane];
      for (std::int64_t e = 0; e < value_dim; ++e) out[e] = from[e * kPanel] * weight;
      lse = here;
      continue;
    }
    const float gap = std::exp(-std::abs(here - lse));
    const float major = 1.0f / (1.0f + gap), minor = gap * major;
    const float weight = (here >= lse ? major : minor) / s.sum[lane], keep = here >= lse ? minor : major;
    for (std::int64_t e = 0; e < value_dim; ++e) out[e] = out[e] * keep + from[e * kPanel] * weight;
    lse = std::max(here, lse) + std::log1p(gap);
  }
}

template <class T>
void forward_block(const AttentionForward& args, const BlockShape& shape, const Block& block,
                   std::span<const std::int32_t> tasks, float* memory) {
  const AttentionDesc& desc = args.desc;
  const std::int64_t head_dim = desc.head_dim, value_dim = desc.value_dim, panels = num_panels(block);
  const ForwardScratch s(shape, desc, memory);
  // A negative scale turns the query about, so that the largest score is always the one of largest weight.
  const float sign = desc.scale > 0 ? 1.0f : desc.scale < 0 ? -1.0f : 0.0f;
  const float scale = desc.scale == 0 ? 1.0f : std::abs(desc.scale);
  pack_panels<T>(args.q, block, sign, s.query);
  std::fill_n(s.out, panels * kPanel * value_dim, 0.0f);
  std::fill_n(s.maximum, panels * kPanel, -std::numeric_limits<float>::infinity());
  std::fill_n(s.sum, panels * kPanel, 0.0f);

  for (const std::int32_t t : tasks) {
    const TaskWindow window = window_of(args.tasks[t], block);
    if (window.empty()) continue;
    for (std::int64_t key = window.key_begin; key < window.key_end; key += shape.key_tile) {
      const std::int64_t key_end = std::min(key + shape.key_tile, window.key_end);
      pack_keys<T>(args.k, block.kv_head, key, key_end - key, s.keys, head_dim);
      pack_keys<T>(args.v, block.kv_head, key, key_end - key, s.values, value_dim);
      const KeyRange next{key_end, std::min(key_end + shape.key_tile, window.key_end)};
      for (std::int64_t panel = 0; panel < panels; ++panel) {
        prefetch_share(args.k, block.kv_head, next, panel, panels);
        prefetch_share(args.v, block.kv_head, next, panel, panels);
        const PanelSpan span = span_of(block, window, panel, key, key_end);
        if (span.empty()) continue;
        float* out = s.out + panel * value_dim * kPanel;
        tile_product<2, Left::kRowMajor, Into::kOverwrite>({.rows = span.size(),
                                                            .depth = head_dim,
                                                            .a = s.keys + (span.begin - key) * head_dim,
                                                            .a_stride = head_dim,
                                                            .b = s.query + panel * head_dim * kPanel,
                                                            .b_stride = kPanel,
                                                            .c = s.scores,
                                                            .c_stride = kPanel});
        if (span.masked) mask_scores(limits_of(block, window, panel, span), span.size(), s.scores, kPanel);
        softmax_panel(span.size(), scale * std::numbers::log2e_v<float>, s.scores, s.maximum + panel * kPanel,
                      s.sum + panel * kPanel, value_dim, out);
        tile_product<2, Left::kDepthMajor, Into::kAccumulate>({.rows = value_dim,
                                                               .depth = span.size(),
                                                               .a = s.values + (span.begin - key) * value_dim,
                                                               .a_stride = value_dim,
                                                               .b = s.scores,
                                                               .b_stride = kPanel,
                                                               .c = out,
                                                               .c_stride = kPanel});
      }
    }
  }
  merge_block(args, block, scale, s);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
