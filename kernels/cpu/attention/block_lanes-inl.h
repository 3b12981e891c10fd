// Packing of lanes and key tiles, and the part of a task that one panel of lanes sees. Included once per target.
#if defined(LONGSPAN_BLOCK_LANES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGSPAN_BLOCK_LANES_INL_H
#undef LONGSPAN_BLOCK_LANES_INL_H
#else
#define LONGSPAN_BLOCK_LANES_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernels/cpu/attention/attention_blocks.h"
#include "kernels/cpu/attention/attention_kernels.h"
#include "kernels/cpu/attention/tile_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
inline std::int64_t num_panels(const Block& block) {
  return (block.num_lanes() + kPanel - 1) / kPanel;
}

// Element 0 of a lane's row in a [T, H, D] tensor.
template <class T>
HWY_INLINE T* lane_row(const Tensor& x, const Block& block, std::int64_t lane) {
  const std::int64_t row = block.row_begin + lane / block.num_heads, head = block.head_begin + lane % block.num_heads;
  return static_cast<T*>(x.data) + row * x.stride[0] + head * x.stride[1];
}

// Lanes as panels [panel][width][kPanel]: the right factor of products over the width. Lanes beyond the block are 0.
template <class T>
void pack_panels(const Tensor& x, const Block& block, float sign, float* HWY_RESTRICT panels) {
  const std::int64_t width = x.shape[2], lanes = num_panels(block) * kPanel;
  for (std::int64_t lane = 0; lane < lanes; ++lane) {
    float* HWY_RESTRICT to = panels + lane / kPanel * width * kPanel + lane % kPanel;
    if (lane >= block.num_lanes()) {
      for (std::int64_t e = 0; e < width; ++e) to[e * kPanel] = 0.0f;
      continue;
    }
    const T* HWY_RESTRICT from = lane_row<T>(x, block, lane);
    for (std::int64_t e = 0; e < width; ++e) to[e * kPanel] = sign * static_cast<float>(from[e]);
  }
}

// `count` rows of `width` elements, `from_stride` apart, to fp32 rows `to_stride` apart; the padding stays as it is.
template <class T>
HWY_INLINE void pack_rows(const T* HWY_RESTRICT from, std::int64_t from_stride, std::int64_t count, std::int64_t width,
                          float* HWY_RESTRICT to, std::int64_t to_stride) {
  for (std::int64_t r = 0; r < count; ++r)
    for (std::int64_t e = 0; e < width; ++e) to[r * to_stride + e] = static_cast<float>(from[r * from_stride + e]);
}

// Rows key … key+count-1 of one key/value head.
template <class T>
HWY_INLINE void pack_keys(const Tensor& x, std::int64_t kv_head, std::int64_t key, std::int64_t count, float* to,
                          std::int64_t to_stride) {
  const T* from = static_cast<const T*>(x.data) + key * x.stride[0] + kv_head * x.stride[1];
  pack_rows(from, x.stride[0], count, x.shape[2], to, to_stride);
}

// Asks for one panel's share of rows key_begin … key_end-1 of a key/value head, so that they arrive while the panels of
// a tile are computed. Rows of different heads lie between, which hardware prefetching does not follow.
HWY_INLINE void prefetch_share(const Tensor& x, std::int64_t kv_head, KeyRange keys, std::int64_t panel,
                               std::int64_t panels) {
  constexpr std::int64_t kLineBytes = 64;
  const std::int64_t element = size_of(x.dtype), bytes = x.shape[2] * element, count = keys.end - keys.begin;
  if (count <= 0) return;
  const auto* head = static_cast<const std::uint8_t*>(x.data) + kv_head * x.stride[1] * element;
  for (std::int64_t j = keys.begin + count * panel / panels; j < keys.begin + count * (panel + 1) / panels; ++j) {
    const std::uint8_t* row = head + j * x.stride[0] * element;
    for (std::int64_t at = 0; at < bytes; at += kLineBytes) hwy::Prefetch(row + at);
  }
}

// What one panel sees of a key tile: keys begin … end-1 of the tensor, all of them by every lane or by a mask.
struct PanelSpan {
  std::int64_t begin = 0, end = 0;
  bool masked = false;
  bool empty() const { return begin >= end; }
  std::int64_t size() const { return end - begin; }
};

HWY_INLINE PanelSpan span_of(const Block& block, const TaskWindow& window, std::int64_t panel, std::int64_t key_begin,
                             std::int64_t key_end) {
  const std::int64_t first_lane = panel * kPanel;
  const std::int64_t last_lane = std::min(first_lane + kPanel, block.num_lanes()) - 1;
  const std::int64_t first_row = first_lane / block.num_heads, last_row = last_lane / block.num_heads;
  const std::int64_t row_begin = std::max(first_row, window.row_begin);
  const std::int64_t row_last = std::min(last_row, window.row_end - 1);
  PanelSpan span;
  if (row_begin > row_last) return span;
  span.begin = std::max(key_begin, row_begin + window.lo);
  span.end = std::min(key_end, row_last + window.hi + 1);
  const bool all_lanes =
      row_begin == first_row && row_last == last_row && window.head_begin == 0 && window.head_end == block.num_heads;
  const bool all_keys = row_last + window.lo <= span.begin && span.end - 1 <= row_begin + window.hi;
  span.masked = !(all_lanes && all_keys);
  return span;
}

// For each lane of a panel the keys it sees, counted from span.begin: first … last. Lanes outside the task see none.
struct LaneLimits {
  alignas(64) std::array<std::int32_t, kPanel> first;
  alignas(64) std::array<std::int32_t, kPanel> last;
};

HWY_INLINE LaneLimits limits_of(const Block& block, const TaskWindow& window, std::int64_t panel,
                                const PanelSpan& span) {
  LaneLimits limits;
  for (std::int64_t l = 0; l < kPanel; ++l) {
    const std::int64_t lane = panel * kPanel + l;
    const std::int64_t row = lane / block.num_heads, head = lane % block.num_heads;
    const bool in_task =
        row >= window.row_begin && row < window.row_end && head >= window.head_begin && head < window.head_end;
    const std::int64_t first = std::clamp<std::int64_t>(row + window.lo - span.begin, 0, span.size());
    const std::int64_t last = std::clamp<std::int64_t>(row + window.hi - span.begin, -1, span.size() - 1);
    limits.first[l] = in_task ? static_cast<std::int32_t>(first) : 0;
    limits.last[l] = in_task ? static_cast<std::int32_t>(last) : -1;
  }
  return limits;
}

// Scores [size][stride] of keys a lane does not see become -inf.
HWY_INLINE void mask_scores(const LaneLimits& limits, std::int64_t size, float* HWY_RESTRICT scores,
                            std::int64_t stride) {
  const Lanes d;
  const hn::RebindToSigned<Lanes> di;
  const Floats hidden = hn::Set(d, -std::numeric_limits<float>::infinity());
  for (std::int64_t v = 0; v < kPanel; v += kVector) {
    const auto first = hn::Load(di, limits.first.data() + v), last = hn::Load(di, limits.last.data() + v);
    for (std::int64_t j = 0; j < size; ++j) {
      const auto key = hn::Set(di, static_cast<std::int32_t>(j));
      const auto outside = hn::Or(hn::Lt(key, first), hn::Gt(key, last));
      float* row = scores + j * stride + v;
      hn::Store(hn::IfThenElse(hn::RebindMask(d, outside), hidden, hn::Load(d, row)), d, row);
    }
  }
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
