// foreach_target reads this file again for every instruction set.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cc"
#include <hwy/foreach_target.h>

#include <cstring>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/ops/kernel_list.h"

HWY_BEFORE_NAMESPACE();
namespace longspan::cpu::HWY_NAMESPACE {

// Adds the columns begin … end-1 of every row of dout to its token's row, in token order.
template <class T>
void backward_typed(const EmbeddingBackward& args, std::int64_t begin, std::int64_t end) {
  const auto* token = args.tokens.get<std::int32_t>();
  const Rows<T> dout_rows(args.dout);
  const Rows<float> dtable_rows(args.dtable);
  for (std::int64_t t = 0; t < args.tokens.numel(); ++t) {
    const T* from = dout_rows[t] + begin;
    float* to = dtable_rows[token[t]] + begin;
    for_each_vector(static_cast<std::size_t>(end - begin), [=](std::size_t i, std::size_t n) HWY_ATTR {
      store(hn::Add(load(to + i, n), load(from + i, n)), to + i, n);
    });
  }
}

void backward_columns(const EmbeddingBackward& args, std::int64_t begin, std::int64_t end) {
  if (args.dout.dtype == DType::kBF16)
    backward_typed<bf16>(args, begin, end);
  else
    backward_typed<float>(args, begin, end);
}

}  // namespace longspan::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longspan::cpu {
namespace {

HWY_EXPORT(backward_columns);

void run_forward(const Exec& exec, const EmbeddingForward& args) {
  const auto* token = args.tokens.get<std::int32_t>();
  const std::int64_t num_bytes = width_of(args.out) * size_of(args.out.dtype);
  const auto row = [](const Tensor& tensor, std::int64_t r) {
    return static_cast<char*>(tensor.data) + row_offset(tensor, r) * size_of(tensor.dtype);
  };
  parallel_for(exec, blocks_of_rows(rows_of(args.out), width_of(args.out)),
               [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                 for (std::int64_t t = begin; t < end; ++t)
                   std::memcpy(row(args.out, t), row(args.table, token[t]), static_cast<std::size_t>(num_bytes));
               });
}

// Threads share out the columns, not the tokens: two tokens may be alike.
void run_backward(const Exec& exec, const EmbeddingBackward& args) {
  constexpr std::int64_t kColumns = 64;
  parallel_for(exec, {width_of(args.dtable), kColumns}, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_columns)(args, begin, end);
  });
}

}  // namespace

const Kernel<EmbeddingForward> kEmbeddingForward{"memcpy", needs_cpu, run_forward};
const Kernel<EmbeddingBackward> kEmbeddingBackward{"highway", needs_cpu, run_backward};

}  // namespace longspan::cpu
#endif
