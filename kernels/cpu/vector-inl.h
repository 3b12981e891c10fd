// Rows of fp32 or bf16 as vectors of float. Included by each file of SIMD kernels, once for every instruction set.

// Highway's include guard: this file is read again whenever the target changes.
#if defined(LONGSPAN_KERNELS_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGSPAN_KERNELS_CPU_VECTOR_INL_H_
#undef LONGSPAN_KERNELS_CPU_VECTOR_INL_H_
#else
#define LONGSPAN_KERNELS_CPU_VECTOR_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "kernels/core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using V = hn::Vec<F32>;
inline constexpr F32 kF32;

HWY_INLINE V set(float value) {
  return hn::Set(kF32, value);
}

HWY_INLINE V load(const float* from) {
  return hn::LoadU(kF32, from);
}

HWY_INLINE V load(const bf16* from) {
  const hn::Rebind<std::uint16_t, F32> halves;
  const hn::RebindToUnsigned<F32> words;
  const auto bits = hn::PromoteTo(words, hn::LoadU(halves, reinterpret_cast<const std::uint16_t*>(from)));
  return hn::BitCast(kF32, hn::ShiftLeft<16>(bits));
}

HWY_INLINE void store(V value, float* to) {
  hn::StoreU(value, kF32, to);
}

// Rounds to nearest even, NaN stays NaN: as the bf16 type does, lane by lane.
HWY_INLINE void store(V value, bf16* to) {
  const hn::Rebind<std::uint16_t, F32> halves;
  const hn::RebindToUnsigned<F32> words;
  const hn::RebindToSigned<F32> signed_words;
  const auto bits = hn::BitCast(words, value);
  const auto high = hn::ShiftRight<16>(bits);
  const auto bias = hn::Add(hn::Set(words, 0x7fffu), hn::And(high, hn::Set(words, 1u)));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, bias));
  const auto quiet = hn::Or(high, hn::Set(words, 0x40u));
  const auto result = hn::IfThenElse(hn::RebindMask(words, hn::IsNaN(value)), quiet, rounded);
  hn::StoreU(hn::DemoteTo(halves, hn::BitCast(signed_words, result)), halves, reinterpret_cast<std::uint16_t*>(to));
}

// The first `count` lanes; the others are 0 when loaded and left alone in memory when stored.
template <class T>
HWY_INLINE V load(const T* from, std::size_t count) {
  if (count == hn::Lanes(kF32)) return load(from);
  T part[hn::MaxLanes(kF32)] = {};
  std::copy_n(from, std::min(count, hn::MaxLanes(kF32)), part);
  return load(part);
}

template <class T>
HWY_INLINE void store(V value, T* to, std::size_t count) {
  if (count == hn::Lanes(kF32)) return store(value, to);
  T part[hn::MaxLanes(kF32)];
  store(value, part);
  std::copy_n(part, std::min(count, hn::MaxLanes(kF32)), to);
}

// body(i, count) for the vectors of [0, width): whole ones first, then what is left over.
template <class Body>
HWY_INLINE void for_each_vector(std::size_t width, Body body) {
  const std::size_t lanes = hn::Lanes(kF32);
  std::size_t i = 0;
  for (; i + lanes <= width; i += lanes) body(i, lanes);
  if (i < width) body(i, width - i);
}

// The sum of term(i, count) over the vectors of [0, width); lanes beyond count must be 0. Four running sums keep the
// additions independent and the rounding small.
template <class Term>
HWY_INLINE float sum_of(std::size_t width, Term term) {
  const std::size_t lanes = hn::Lanes(kF32);
  V sum0 = hn::Zero(kF32), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  std::size_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    sum0 = hn::Add(sum0, term(i, lanes));
    sum1 = hn::Add(sum1, term(i + lanes, lanes));
    sum2 = hn::Add(sum2, term(i + 2 * lanes, lanes));
    sum3 = hn::Add(sum3, term(i + 3 * lanes, lanes));
  }
  for (; i + lanes <= width; i += lanes) sum0 = hn::Add(sum0, term(i, lanes));
  if (i < width) sum1 = hn::Add(sum1, term(i, width - i));
  return hn::GetLane(hn::SumOfLanes(kF32, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3))));
}

// exp of values that are not positive. NaN stays NaN, which Highway's own does not promise.
HWY_INLINE V exp_of_non_positive(V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(kF32, x));
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
