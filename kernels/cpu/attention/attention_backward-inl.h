// Backward attention of one block over a range of keys. Included once per target.
//
// Probabilities P and their gradients dS are recomputed from lse, transposed, [key][lane]; then
//   dV += P^T dO,  dK += scale dS^T Q  (lanes summed over),  dQ += scale dS K  (keys summed over).
#if defined(LONGSPAN_ATTENTION_BACKWARD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGSPAN_ATTENTION_BACKWARD_INL_H
#undef LONGSPAN_ATTENTION_BACKWARD_INL_H
#else
#define LONGSPAN_ATTENTION_BACKWARD_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
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

struct BackwardScratch {
  BackwardScratch(const BlockShape& shape, const AttentionDesc& desc, float* memory)
      : lanes(round_up(shape.block_heads * shape.block_rows, kPanel)),
        head_width(round_up(desc.head_dim, kVector)),
        value_width(round_up(desc.value_dim, kVector)) {
    ScratchCursor cursor(memory);
    query = cursor.take(lanes * desc.head_dim);
    dout = cursor.take(lanes * desc.value_dim);
    query_rows = cursor.take(lanes * head_width);
    dout_rows = cursor.take(lanes * value_width);
    dquery = cursor.take(lanes * desc.head_dim);
    lse = cursor.take(lanes);
    delta = cursor.take(lanes);
    keys = cursor.take(shape.key_tile * desc.head_dim);
    values = cursor.take(shape.key_tile * desc.value_dim);
    probabilities = cursor.take(shape.key_tile * lanes);
    dscores = cursor.take(shape.key_tile * lanes);
    dkeys = cursor.take(shape.key_tile * head_width);
    dvalues = cursor.take(shape.key_tile * value_width);
    num_floats = cursor.used();
  }

  std::int64_t lanes, head_width, value_width;  // padded
  float *query, *dout;                          // [panel][D or Dv][kPanel]
  float *query_rows, *dout_rows;                // [lane][width]
  float* dquery;                                // [panel][D][kPanel], without the scale
  float *lse, *delta;                           // [lane]
  float *keys, *values;                         // [key_tile][D or Dv]
  float *probabilities, *dscores;               // [key_tile][lanes]
  float *dkeys, *dvalues;                       // [key_tile][width], dkeys without the scale
  std::int64_t num_floats = 0;
};

// Rows of lanes, padded with zeros to `width` elements and to whole panels.
template <class T>
void pack_lane_rows(const Tensor& x, const Block& block, std::int64_t width, float* HWY_RESTRICT to) {
  const std::int64_t lanes = num_panels(block) * kPanel, used = x.shape[2];
  for (std::int64_t lane = 0; lane < lanes; ++lane, to += width) {
    std::int64_t filled = 0;
    if (lane < block.num_lanes()) {
      const T* HWY_RESTRICT from = lane_row<T>(x, block, lane);
      for (; filled < used; ++filled) to[filled] = static_cast<float>(from[filled]);
    }
    std::fill(to + filled, to + width, 0.0f);
  }
}

// lse and delta of the lanes. A lane that sees nothing, or does not exist, gets lse = +inf: its probabilities are 0.
inline void pack_lane_statistics(const AttentionBackward& args, const Block& block, float* lse, float* delta) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (std::int64_t lane = 0; lane < num_panels(block) * kPanel; ++lane) {
    lse[lane] = kInfinity;
    delta[lane] = 0.0f;
    if (lane >= block.num_lanes()) continue;
    const std::int64_t row = block.row_begin + lane / block.num_heads;
    const std::int64_t head = block.head_begin + lane % block.num_heads;
    const float value = args.lse.get<float>()[row * args.lse.stride[0] + head * args.lse.stride[1]];
    if (value == -kInfinity) continue;
    lse[lane] = value;
    delta[lane] = args.delta.get<float>()[row * args.delta.stride[0] + head * args.delta.stride[1]];
  }
}

// Lanes that none of the block's tasks gives become as those beyond the block: products over a panel multiply what they
// hold by probabilities of 0, and it may be NaN.
inline void clear_lanes_outside(const AttentionBackward& args, std::span<const std::int32_t> tasks, const Block& block,
                                const BackwardScratch& s) {
  std::array<bool, BlockShape::kMaxLanes> given{};
  for (const std::int32_t t : tasks) {
    const TaskWindow window = window_of(args.tasks[t], block);
    for (std::int64_t row = window.row_begin; row < window.row_end; ++row)
      for (std::int64_t head = window.head_begin; head < window.head_end; ++head)
        given[row * block.num_heads + head] = true;
  }
  const auto clear_column = [](float* panels, std::int64_t lane, std::int64_t width) {
    float* column = panels + lane / kPanel * width * kPanel + lane % kPanel;
    for (std::int64_t e = 0; e < width; ++e) column[e * kPanel] = 0.0f;
  };
  for (std::int64_t lane = 0; lane < block.num_lanes(); ++lane) {
    if (given[lane]) continue;
    clear_column(s.query, lane, args.desc.head_dim);
    clear_column(s.dout, lane, args.desc.value_dim);
    std::fill_n(s.query_rows + lane * s.head_width, s.head_width, 0.0f);
    std::fill_n(s.dout_rows + lane * s.value_width, s.value_width, 0.0f);
    s.lse[lane] = std::numeric_limits<float>::infinity();
    s.delta[lane] = 0.0f;
  }
}

// Scores become probabilities, dprobabilities (in `dscores`) become gradients of the scaled scores.
HWY_INLINE void softmax_backward_panel(std::int64_t size, float scale, const float* HWY_RESTRICT lse,
                                       const float* HWY_RESTRICT delta, float* HWY_RESTRICT scores,
                                       float* HWY_RESTRICT dscores, std::int64_t stride) {
  const Lanes d;
  const Floats factor = hn::Set(d, scale), log2e = hn::Set(d, std::numbers::log2e_v<float>);
  for (std::int64_t v = 0; v < kPanel; v += kVector) {
    const Floats lane_lse = hn::Load(d, lse + v), lane_delta = hn::Load(d, delta + v);
    for (std::int64_t j = 0; j < size; ++j) {
      const std::int64_t at = j * stride + v;
      const Floats x = hn::Mul(hn::MulSub(hn::Load(d, scores + at), factor, lane_lse), log2e);
      // No probability exceeds 1; rounding in lse must not make it so. In this order a NaN is handed on.
      const Floats p = exp2_nonpositive(d, hn::Min(hn::Zero(d), x));
      hn::Store(p, d, scores + at);
      hn::Store(hn::Mul(p, hn::Sub(hn::Load(d, dscores + at), lane_delta)), d, dscores + at);
    }
  }
}

// c[row][width] = sum over lanes of weights[row][lane] * rows[lane][width], rows of the tile as they are used: strips
// of keys leave out the panels that see none of them.
HWY_INLINE void sum_over_lanes(std::span<const PanelSpan> spans, std::int64_t key, std::int64_t num_keys,
                               const float* weights, std::int64_t stride, const float* rows, std::int64_t width,
                               float* c) {
  constexpr std::int64_t kStrip = 12;
  const auto panels = static_cast<std::int64_t>(spans.size());
  const bool whole = std::all_of(spans.begin(), spans.end(),
                                 [&](const PanelSpan& s) { return s.begin == key && s.end == key + num_keys; });
  const std::int64_t step = whole ? num_keys : kStrip;
  for (std::int64_t begin = 0; begin < num_keys; begin += step) {
    const std::int64_t end = std::min(begin + step, num_keys);
    const auto meets = [&](const PanelSpan& s) { return s.begin < key + end && s.end > key + begin; };
    std::int64_t first = 0, last = panels;
    while (first < last && !meets(spans[first])) ++first;
    while (last > first && !meets(spans[last - 1])) --last;
    TileProduct product{.rows = end - begin,
                        .depth = (last - first) * kPanel,
                        .a = weights + begin * stride + first * kPanel,
                        .a_stride = stride,
                        .b = rows + first * kPanel * width,
                        .b_stride = width,
                        .c = c + begin * width,
                        .c_stride = width};
    std::int64_t lane = 0;
    for (; lane + kPanel <= width; lane += kPanel, product.b += kPanel, product.c += kPanel)
      tile_product<2, Left::kRowMajor, Into::kOverwrite>(product);
    if (lane < width) tile_product<1, Left::kRowMajor, Into::kOverwrite>(product);
  }
}

// Rows key … of a [T, H, D] gradient += factor * tile.
HWY_INLINE void add_tile(const Tensor& gradient, std::int64_t kv_head, std::int64_t key, std::int64_t num_keys,
                         float factor, const float* HWY_RESTRICT tile, std::int64_t width) {
  float* to = gradient.get<float>() + key * gradient.stride[0] + kv_head * gradient.stride[1];
  for (std::int64_t j = 0; j < num_keys; ++j) {
    float* HWY_RESTRICT row = to + j * gradient.stride[0];
    for (std::int64_t e = 0; e < gradient.shape[2]; ++e) row[e] += factor * tile[j * width + e];
  }
}

// Lane gradients gathered as panels go to their rows.
inline void add_dquery(const AttentionBackward& args, const Block& block, const float* dquery) {
  const std::int64_t head_dim = args.desc.head_dim;
  for (std::int64_t lane = 0; lane < block.num_lanes(); ++lane) {
    const float* HWY_RESTRICT from = dquery + lane / kPanel * head_dim * kPanel + lane % kPanel;
    float* HWY_RESTRICT to = lane_row<float>(args.dq, block, lane);
    for (std::int64_t e = 0; e < head_dim; ++e) to[e] += args.desc.scale * from[e * kPanel];
  }
}

// Probabilities and dscores of one panel over its part of the tile, zero over the rest.
HWY_INLINE void recompute_panel(const AttentionBackward& args, const Block& block, const TaskWindow& window,
                                const BackwardScratch& s, std::int64_t panel, const PanelSpan& span, std::int64_t key,
                                std::int64_t num_keys, float scale) {
  const std::int64_t head_dim = args.desc.head_dim, value_dim = args.desc.value_dim;
  const std::int64_t skip = span.begin - key;
  float* scores = s.probabilities + panel * kPanel;
  float* dscores = s.dscores + panel * kPanel;
  for (std::int64_t j = 0; j < num_keys; ++j) {
    if (j >= skip && j < span.end - key) continue;
    std::fill_n(scores + j * s.lanes, kPanel, 0.0f);
    std::fill_n(dscores + j * s.lanes, kPanel, 0.0f);
  }
  if (span.empty()) return;
  scores += skip * s.lanes;
  dscores += skip * s.lanes;
  tile_product<2, Left::kRowMajor, Into::kOverwrite>({.rows = span.size(),
                                                      .depth = head_dim,
                                                      .a = s.keys + skip * head_dim,
                                                      .a_stride = head_dim,
                                                      .b = s.query + panel * head_dim * kPanel,
                                                      .b_stride = kPanel,
                                                      .c = scores,
                                                      .c_stride = s.lanes});
  tile_product<2, Left::kRowMajor, Into::kOverwrite>({.rows = span.size(),
                                                      .depth = value_dim,
                                                      .a = s.values + skip * value_dim,
                                                      .a_stride = value_dim,
                                                      .b = s.dout + panel * value_dim * kPanel,
                                                      .b_stride = kPanel,
                                                      .c = dscores,
                                                      .c_stride = s.lanes});
  if (span.masked) mask_scores(limits_of(block, window, panel, span), span.size(), scores, s.lanes);
  softmax_backward_panel(span.size(), scale, s.lse + panel * kPanel, s.delta + panel * kPanel, scores, dscores,
                         s.lanes);
}

template <class T>
void backward_block(const AttentionBackward& args, const BlockShape& shape, const Block& block,
                    std::span<const std::int32_t> tasks, KeyRange keys, BlockGradients wanted, float* memory) {
  const AttentionDesc& desc = args.desc;
  const std::int64_t head_dim = desc.head_dim, value_dim = desc.value_dim, panels = num_panels(block);
  const BackwardScratch s(shape, desc, memory);
  const bool want_query = wanted != BlockGradients::kKeyValueOnly, want_keys = wanted != BlockGradients::kQueryOnly;
  const float sign = desc.scale > 0 ? 1.0f : desc.scale < 0 ? -1.0f : 0.0f;
  const float scale = desc.scale == 0 ? 1.0f : std::abs(desc.scale);
  std::array<PanelSpan, BlockShape::kMaxLanes> spans;
  bool packed = false;

  for (const std::int32_t t : tasks) {
    TaskWindow window = window_of(args.tasks[t], block);
    window.key_begin = std::max(window.key_begin, keys.begin);
    window.key_end = std::min(window.key_end, keys.end);
    if (window.empty()) continue;
    if (!packed) {
      pack_panels<T>(args.q, block, sign, s.query);
      pack_panels<T>(args.dout, block, 1.0f, s.dout);
      pack_lane_statistics(args, block, s.lse, s.delta);
      if (want_query) std::fill_n(s.dquery, panels * kPanel * head_dim, 0.0f);
      if (want_keys) pack_lane_rows<T>(args.q, block, s.head_width, s.query_rows);
      if (want_keys) pack_lane_rows<T>(args.dout, block, s.value_width, s.dout_rows);
      clear_lanes_outside(args, tasks, block, s);
      packed = true;
    }
    for (std::int64_t key = window.key_begin; key < window.key_end; key += shape.key_tile) {
      const std::int64_t num_keys = std::min(shape.key_tile, window.key_end - key);
      pack_keys<T>(args.k, block.kv_head, key, num_keys, s.keys, head_dim);
      pack_keys<T>(args.v, block.kv_head, key, num_keys, s.values, value_dim);
      const KeyRange here{key, key + num_keys};
      const KeyRange next{here.end, std::min(here.end + shape.key_tile, window.key_end)};
      for (std::int64_t panel = 0; panel < panels; ++panel) {
        for (const Tensor& x : {args.k, args.v}) prefetch_share(x, block.kv_head, next, panel, panels);
        if (want_keys)
          for (const Tensor& x : {args.dk, args.dv}) prefetch_share(x, block.kv_head, here, panel, panels);
        const PanelSpan span = span_of(block, window, panel, here.begin, here.end);
        spans[panel] = span;
        recompute_panel(args, block, window, s, panel, span, key, num_keys, scale);
        if (!want_query || span.empty()) continue;
        tile_product<2, Left::kDepthMajor, Into::kAccumulate>(
            {.rows = head_dim,
             .depth = span.size(),
             .a = s.keys + (span.begin - key) * head_dim,
             .a_stride = head_dim,
             .b = s.dscores + (span.begin - key) * s.lanes + panel * kPanel,
             .b_stride = s.lanes,
             .c = s.dquery + panel * head_dim * kPanel,
             .c_stride = kPanel});
      }
      if (!want_keys) continue;
      const std::span<const PanelSpan> used(spans.data(), panels);
      sum_over_lanes(used, key, num_keys, s.probabilities, s.lanes, s.dout_rows, s.value_width, s.dvalues);
      sum_over_lanes(used, key, num_keys, s.dscores, s.lanes, s.query_rows, s.head_width, s.dkeys);
      add_tile(args.dv, block.kv_head, key, num_keys, 1.0f, s.dvalues, s.value_width);
      add_tile(args.dk, block.kv_head, key, num_keys, desc.scale, s.dkeys, s.head_width);
    }
  }
  if (want_query && packed) add_dquery(args, block, s.dquery);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
