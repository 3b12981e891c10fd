// Addition, conversion and zeros: each thread takes 16 bytes at a time where every row allows it, else one element.
#include "device/warp.cuh"
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/pieces.cuh"

namespace longspan::cuda {
namespace {

template <class T, int kVector>
__global__ void __launch_bounds__(kPieceThreads) add_kernel(ElementRows<3> rows, const T* a, const T* b, T* out) {
  for_each_piece<kVector>(rows, [&](std::int64_t row, std::int64_t column, int count) {
    Vector<T, kVector> x = load_piece<kVector>(a + rows.offset(0, row) + column, count);
    const Vector<T, kVector> y = load_piece<kVector>(b + rows.offset(1, row) + column, count);
    for (int i = 0; i < kVector; ++i) x[i] = T(static_cast<float>(x[i]) + static_cast<float>(y[i]));
    store_piece(out + rows.offset(2, row) + column, x, count);
  });
}

template <class From, class To, int kVector>
__global__ void __launch_bounds__(kPieceThreads) cast_kernel(ElementRows<2> rows, const From* in, To* out) {
  for_each_piece<kVector>(rows, [&](std::int64_t row, std::int64_t column, int count) {
    const Vector<From, kVector> x = load_piece<kVector>(in + rows.offset(0, row) + column, count);
    Vector<To, kVector> y;
    for (int i = 0; i < kVector; ++i) y[i] = To(static_cast<float>(x[i]));
    store_piece(out + rows.offset(1, row) + column, y, count);
  });
}

template <class T>
__global__ void __launch_bounds__(kPieceThreads) zero_kernel(ElementRows<1> rows, T* out) {
  for_each_piece<1>(rows, [&](std::int64_t row, std::int64_t column, int) { out[rows.offset(0, row) + column] = 0; });
}

template <class T>
void add_typed(const Exec& exec, const Add& args) {
  constexpr int kVector = 16 / sizeof(T);
  const std::array<Tensor, 3> operands = {args.a, args.b, args.out};
  const ElementRows<3> rows = element_rows<3>(operands);
  const int vector = vector_width<3>(rows, operands, kVector);
  launch(exec, "add", launch_over(exec, rows, vector), vector == 1 ? add_kernel<T, 1> : add_kernel<T, kVector>, rows,
         args.a.get<T>(), args.b.get<T>(), args.out.get<T>());
}

void run_add(const Exec& exec, const Add& args) {
  args.out.dtype == DType::kBF16 ? add_typed<bf16>(exec, args) : add_typed<float>(exec, args);
}

template <class From, class To>
void cast_typed(const Exec& exec, const Cast& args) {
  constexpr int kVector = 16 / std::max(sizeof(From), sizeof(To));
  const std::array<Tensor, 2> operands = {args.in, args.out};
  const ElementRows<2> rows = element_rows<2>(operands);
  const int vector = vector_width<2>(rows, operands, kVector);
  launch(exec, "cast", launch_over(exec, rows, vector),
         vector == 1 ? cast_kernel<From, To, 1> : cast_kernel<From, To, kVector>, rows, args.in.get<From>(),
         args.out.get<To>());
}

void run_cast(const Exec& exec, const Cast& args) {
  const bool from_bf16 = args.in.dtype == DType::kBF16;
  if (args.out.dtype == DType::kBF16)
    from_bf16 ? cast_typed<bf16, bf16>(exec, args) : cast_typed<float, bf16>(exec, args);
  else
    from_bf16 ? cast_typed<bf16, float>(exec, args) : cast_typed<float, float>(exec, args);
}

template <class T>
void zero_typed(const Exec& exec, const ElementRows<1>& rows, const Tensor& out) {
  launch(exec, "fill_zero", launch_over(exec, rows, 1), zero_kernel<T>, rows, static_cast<T*>(out.data));
}

// Any dtype: the bit pattern of zero is all zeros in every one.
void run_fill_zero(const Exec& exec, const FillZero& args) {
  const ElementRows<1> rows = element_rows<1>({args.out});
  const std::int64_t size = size_of(args.out.dtype);
  if (rows.rows <= 1)
    exec.runtime->zero(exec.stream, args.out.data, rows.width * size);
  else if (size == 1)
    zero_typed<std::uint8_t>(exec, rows, args.out);
  else if (size == 2)
    zero_typed<std::uint16_t>(exec, rows, args.out);
  else if (size == 4)
    zero_typed<std::uint32_t>(exec, rows, args.out);
  else
    zero_typed<std::uint64_t>(exec, rows, args.out);
}

// Columns by lanes, rows by warps of a block; the warps' sums are added in order.
constexpr int kSumWarps = 8;

template <class T>
__global__ void __launch_bounds__(kWarp* kSumWarps)
    row_sum_kernel(const T* x, std::int64_t stride, ColumnBlocks blocks, std::int64_t width, float* partials) {
  __shared__ float sums[kSumWarps][kWarp];
  const std::int64_t column = std::int64_t{blockIdx.x} * kWarp + lane(), block = blockIdx.y;
  float sum = 0;
  if (column < width)
    for (std::int64_t row = blocks.begin(block) + warp_of_block(); row < blocks.end(block); row += kSumWarps)
      sum += static_cast<float>(x[row * stride + column]);
  sums[warp_of_block()][lane()] = sum;
  sync_block();
  if (warp_of_block() > 0 || column >= width) return;
  for (int warp = 1; warp < kSumWarps; ++warp) sum += sums[warp][lane()];
  partials[block * width + column] = sum;
}

template <class T>
void add_row_sum_typed(const Exec& exec, const AddRowSum& args) {
  const std::int64_t width = args.out.numel();
  add_column_sums(exec, args.x.size(0), args.out, [&](const ColumnBlocks& blocks, float* partials) {
    const Launch how{
        .grid = dim3(static_cast<unsigned>((width + kWarp - 1) / kWarp), static_cast<unsigned>(blocks.num())),
        .block = kWarp * kSumWarps};
    launch(exec, "add_row_sum", how, row_sum_kernel<T>, args.x.get<T>(), args.x.stride[0], blocks, width, partials);
  });
}

void run_add_row_sum(const Exec& exec, const AddRowSum& args) {
  args.x.dtype == DType::kBF16 ? add_row_sum_typed<bf16>(exec, args) : add_row_sum_typed<float>(exec, args);
}

}  // namespace

const Kernel<Add> kAdd{"cuda", needs_cuda, run_add};
const Kernel<Cast> kCast{"cuda", needs_cuda, run_cast};
const Kernel<AddRowSum> kAddRowSum{"cuda", needs_cuda, run_add_row_sum};
const Kernel<FillZero> kFillZero{"cuda", needs_cuda, run_fill_zero};

}  // namespace longspan::cuda
