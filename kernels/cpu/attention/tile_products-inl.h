// Register-blocked products of small row-major tiles, the inner loops of CPU attention. Included once per target.
#if defined(LONGSPAN_TILE_PRODUCTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGSPAN_TILE_PRODUCTS_INL_H
#undef LONGSPAN_TILE_PRODUCTS_INL_H
#else
#define LONGSPAN_TILE_PRODUCTS_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Lanes = hn::CappedTag<float, 16>;
using Floats = hn::Vec<Lanes>;

// Lanes of a vector, and of a panel of two: the width of the tiles below.
inline constexpr std::int64_t kVector = hn::MaxLanes(Lanes());
inline constexpr std::int64_t kPanel = 2 * kVector;

// How the left factor lies in memory, seen from its element (row r, depth k).
enum class Left { kRowMajor, kDepthMajor };
enum class Into { kOverwrite, kAccumulate };

struct TileProduct {
  std::int64_t rows = 0;   // of a and c
  std::int64_t depth = 0;  // summed over
  const float* a = nullptr;
  std::int64_t a_stride = 0;  // between rows (row-major) or depths (depth-major)
  const float* b = nullptr;   // [depth][lanes]
  std::int64_t b_stride = 0;
  float* c = nullptr;  // [rows][lanes]
  std::int64_t c_stride = 0;
};

// R rows by V vectors of c stay in registers over the whole depth: with R = 6 and V = 2 they take 12 of 16, the right
// factor 2, the broadcast 1.
template <int R, int V, Left kLeft, Into kInto>
HWY_INLINE void product_strip(const TileProduct& t, std::int64_t row) {
  const Lanes d;
  const float* HWY_RESTRICT a = t.a + (kLeft == Left::kRowMajor ? row * t.a_stride : row);
  const float* HWY_RESTRICT b = t.b;
  float* HWY_RESTRICT c = t.c + row * t.c_stride;
  const std::int64_t a_row = kLeft == Left::kRowMajor ? t.a_stride : 1;
  const std::int64_t a_depth = kLeft == Left::kRowMajor ? 1 : t.a_stride;
  Floats sum[R][V];
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v)
      sum[r][v] = kInto == Into::kAccumulate ? hn::Load(d, c + r * t.c_stride + v * kVector) : hn::Zero(d);
  for (std::int64_t k = 0; k < t.depth; ++k) {
    Floats right[V];
    for (int v = 0; v < V; ++v) right[v] = hn::Load(d, b + v * kVector);
    for (int r = 0; r < R; ++r) {
      const Floats left = hn::Set(d, a[r * a_row]);
      for (int v = 0; v < V; ++v) sum[r][v] = hn::MulAdd(left, right[v], sum[r][v]);
    }
    a += a_depth;
    b += t.b_stride;
  }
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < V; ++v) hn::Store(sum[r][v], d, c + r * t.c_stride + v * kVector);
}

// c = a . b, or c += a . b, over V vectors of lanes. Strips of fewer than four rows cannot hide the latency of the
// multiply-add, so the last rows are split evenly.
template <int V, Left kLeft, Into kInto>
HWY_NOINLINE void tile_product(const TileProduct& t) {
  std::int64_t row = 0;
  while (row < t.rows) {
    const std::int64_t left = t.rows - row;
    if (left >= 6 && left != 7 && left != 8) {
      product_strip<6, V, kLeft, kInto>(t, row);
      row += 6;
    } else if (left >= 4) {
      const std::int64_t step = left == 5 ? 5 : 4;
      if (step == 5)
        product_strip<5, V, kLeft, kInto>(t, row);
      else
        product_strip<4, V, kLeft, kInto>(t, row);
      row += step;
    } else {
      if (left == 3)
        product_strip<3, V, kLeft, kInto>(t, row);
      else if (left == 2)
        product_strip<2, V, kLeft, kInto>(t, row);
      else
        product_strip<1, V, kLeft, kInto>(t, row);
      row += left;
    }
  }
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
