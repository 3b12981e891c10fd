// SwiGLU and its gradient, a piece of 16 bytes a thread. Gradients may lie where gate and up do: a thread reads a piece
// before it writes there.
#include "device/math.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/pieces.cuh"

namespace longspan::cuda {
namespace {

// Past the range of exp the quotient is 0 or 1, never NaN.
__device__ float sigmoid(float z) {
  return reciprocal(1.0f + exp(-z));
}

template <class T, int kVector>
__global__ void __launch_bounds__(kPieceThreads)
    forward_kernel(ElementRows<3> rows, const T* gate, const T* up, T* out) {
  for_each_piece<kVector>(rows, [&](std::int64_t row, std::int64_t column, int count) {
    const Vector<T, kVector> g = load_piece<kVector>(gate + rows.offset(0, row) + column, count);
    Vector<T, kVector> u = load_piece<kVector>(up + rows.offset(1, row) + column, count);
    for (int i = 0; i < kVector; ++i) {
      const auto z = static_cast<float>(g[i]);
      u[i] = T(z * sigmoid(z) * static_cast<float>(u[i]));
    }
    store_piece(out + rows.offset(2, row) + column, u, count);
  });
}

// silu'(z) = s(z) * (1 + z * s(-z)) with s the sigmoid; s(-z) rather than 1 - s(z), which cancels.
template <class T, int kVector>
__global__ void __launch_bounds__(kPieceThreads)
    backward_kernel(ElementRows<5> rows, const T* gate, const T* up, const T* dout, T* dgate, T* dup) {
  for_each_piece<kVector>(rows, [&](std::int64_t row, std::int64_t column, int count) {
    Vector<T, kVector> g = load_piece<kVector>(gate + rows.offset(0, row) + column, count);
    Vector<T, kVector> u = load_piece<kVector>(up + rows.offset(1, row) + column, count);
    const Vector<T, kVector> d = load_piece<kVector>(dout + rows.offset(2, row) + column, count);
    for (int i = 0; i < kVector; ++i) {
      const auto z = static_cast<float>(g[i]), along = static_cast<float>(d[i]), s = sigmoid(z);
      g[i] = T(along * static_cast<float>(u[i]) * s * (1.0f + z * sigmoid(-z)));
      u[i] = T(along * z * s);
    }
    store_piece(dgate + rows.offset(3, row) + column, g, count);
    store_piece(dup + rows.offset(4, row) + column, u, count);
  });
}

void run_forward(const Exec& exec, const SwigluForward& args) {
  with_float_type(args.out.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kVector = 16 / sizeof(T);
    const std::array<Tensor, 3> operands = {args.gate, args.up, args.out};
    const ElementRows<3> rows = element_rows<3>(operands);
    const int vector = vector_width<3>(rows, operands, kVector);
    launch(exec, "swiglu_forward", launch_over(exec, rows, vector),
           vector == 1 ? forward_kernel<T, 1> : forward_kernel<T, kVector>, rows, args.gate.get<T>(), args.up.get<T>(),
           args.out.get<T>());
  });
}

void run_backward(const Exec& exec, const SwigluBackward& args) {
  with_float_type(args.dout.dtype, [&](auto zero) {
    using T = decltype(zero);
    constexpr int kVector = 16 / sizeof(T);
    const std::array<Tensor, 5> operands = {args.gate, args.up, args.dout, args.dgate, args.dup};
    const ElementRows<5> rows = element_rows<5>(operands);
    const int vector = vector_width<5>(rows, operands, kVector);
    launch(exec, "swiglu_backward", launch_over(exec, rows, vector),
           vector == 1 ? backward_kernel<T, 1> : backward_kernel<T, kVector>, rows, args.gate.get<T>(),
           args.up.get<T>(), args.dout.get<T>(), args.dgate.get<T>(), args.dup.get<T>());
  });
}

}  // namespace

const Kernel<SwigluForward> kSwigluForward{"pieces", needs_cuda, run_forward};
const Kernel<SwigluBackward> kSwigluBackward{"pieces", needs_cuda, run_backward};

}  // namespace longspan::cuda
