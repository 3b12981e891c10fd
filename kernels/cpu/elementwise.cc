// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include <hwy/foreach_target.h>

#include <cstring>

#include "kernels/cpu/column_sums.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

template <class T>
void add_typed(const Add& args, std::int64_t row, std::int64_t begin, std::int64_t end) {
  const T *a = Rows<T>(args.a)[row] + begin, *b = Rows<T>(args.b)[row] + begin;
  T* out = Rows<T>(args.out)[row] + begin;
  for_each_vector(static_cast<std::size_t>(end - begin), [=](std::size_t i, std::size_t n) HWY_ATTR {
    store(hn::Add(load(a + i, n), load(b + i, n)), out + i, n);
  });
}

void add_span(const Add& args, std::int64_t row, std::int64_t begin, std::int64_t end) {
  if (args.out.dtype == DType::kBF16)
    add_typed<bf16>(args, row, begin, end);
  else
    add_typed<float>(args, row, begin, end);
}

template <class From, class To>
void cast_typed(const Cast& args, std::int64_t row, std::int64_t begin, std::int64_t end) {
  const From* in = Rows<From>(args.in)[row] + begin;
  To* out = Rows<To>(args.out)[row] + begin;
  for_each_vector(static_cast<std::size_t>(end - begin),
                  [=](std::size_t i, std::size_t n) HWY_ATTR { store(load(in + i, n), out + i, n); });
}

void cast_span(const Cast& args, std::int64_t row, std::int64_t begin, std::int64_t end) {
  if (args.in.dtype == DType::kBF16)
    cast_typed<bf16, float>(args, row, begin, end);
  else
    cast_typed<float, bf16>(args, row, begin, end);
}

template <class T>
void sum_typed(const AddRowSum& args, float* sum, std::int64_t begin, std::int64_t end) {
  const Rows<T> x_rows(args.x);
  for (std::int64_t r = begin; r < end; ++r) {
    const T* x = x_rows[r];
    for_each_vector(static_cast<std::size_t>(width_of(args.x)), [=](std::size_t i, std::size_t n) HWY_ATTR {
      store(hn::Add(load(sum + i, n), load(x + i, n)), sum + i, n);
    });
  }
}

void sum_rows(const AddRowSum& args, float* sum, std::int64_t begin, std::int64_t end) {
  if (args.x.dtype == DType::kBF16)
    sum_typed<bf16>(args, sum, begin, end);
  else
    sum_typed<float>(args, sum, begin, end);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(add_span);
HWY_EXPORT(cast_span);
HWY_EXPORT(sum_rows);

// Contiguous operands are one long row, whatever their shape.
Tensor as_one_row(const Tensor& tensor) {
  return tensor.view({1, tensor.numel()});
}

void run_add(const Exec& exec, const Add& args) {
  const bool flat = args.a.is_contiguous() && args.b.is_contiguous() && args.out.is_contiguous();
  const Add rows = flat ? Add{as_one_row(args.a), as_one_row(args.b), as_one_row(args.out)} : args;
  for_each_span(exec, rows_of(rows.out), width_of(rows.out),
                [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
                  HWY_DYNAMIC_DISPATCH(add_span)(rows, row, begin, end);
                });
}

char* address(const Tensor& tensor, std::int64_t row, std::int64_t column) {
  return static_cast<char*>(tensor.data) + (row_offset(tensor, row) + column) * size_of(tensor.dtype);
}

void run_cast(const Exec& exec, const Cast& args) {
  const bool flat = args.in.is_contiguous() && args.out.is_contiguous();
  const Cast rows = flat ? Cast{as_one_row(args.in), as_one_row(args.out)} : args;
  const bool same_dtype = args.in.dtype == args.out.dtype;
  for_each_span(exec, rows_of(rows.out), width_of(rows.out),
                [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
                  if (same_dtype)
                    std::memmove(address(rows.out, row, begin), address(rows.in, row, begin),
                                 static_cast<std::size_t>((end - begin) * size_of(rows.out.dtype)));
                  else
                    HWY_DYNAMIC_DISPATCH(cast_span)(rows, row, begin, end);
                });
}

void run_fill_zero(const Exec& exec, const FillZero& args) {
  const Tensor out = args.out.is_contiguous() ? as_one_row(args.out) : args.out;
  for_each_span(exec, rows_of(out), width_of(out), [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    std::memset(address(out, row, begin), 0, static_cast<std::size_t>((end - begin) * size_of(out.dtype)));
  });
}

void run_add_row_sum(const Exec& exec, const AddRowSum& args) {
  add_column_sums(exec, rows_of(args.x), args.out, [&](float* partial, std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(sum_rows)(args, partial, begin, end);
  });
}

}  // namespace

const Kernel<Add> kAdd{"highway", needs_cpu, run_add};
const Kernel<Cast> kCast{"highway", needs_cpu, run_cast};
const Kernel<AddRowSum> kAddRowSum{"highway", needs_cpu, run_add_row_sum};
const Kernel<FillZero> kFillZero{"memset", needs_cpu, run_fill_zero};

}  // namespace longspan::cpu
#endif
