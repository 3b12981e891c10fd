// exp2 of non-positive vectors, the exponential of CPU attention. Included once per target.
#if defined(LONGSPAN_VECTOR_EXP_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGSPAN_VECTOR_EXP_INL_H
#undef LONGSPAN_VECTOR_EXP_INL_H
#else
#define LONGSPAN_VECTOR_EXP_INL_H
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// 2^x for x <= 0, relative error below 2e-7; exactly 1 at 0, exactly 0 at -127 and below (so at -inf); NaN stays NaN.
// 2^x = 2^n 2^f with n = round(x): adding 1.5 * 2^23 leaves n in the low bits, to be added to the exponent of 2^f,
// which is a polynomial fitted to least relative error on [-1/2, 1/2] with constant term 1.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2_nonpositive(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V shifter = hn::Set(d, 12582912.0f);
  // In this order the x86 instruction hands on a NaN in x.
  x = hn::Max(hn::Set(d, -127.0f), x);
  const V shifted = hn::Add(x, shifter);
  const V f = hn::Sub(x, hn::Sub(shifted, shifter));
  V p = hn::Set(d, 0.0013264727123688848f);
  p = hn::MulAdd(p, f, hn::Set(d, 0.009671512644834013f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.05550733743496808f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.24022242085262058f));
  p = hn::MulAdd(p, f, hn::Set(d, 0.6931469775989932f));
  p = hn::MulAdd(p, f, hn::Set(d, 1.0f));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
