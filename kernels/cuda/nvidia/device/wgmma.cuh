// Products of a warpgroup (four warps) on a real GPU (PTX ISA 9.7.15 "wgmma.mma_async"): D[64, N] = or += A[64, 16]
// B[16, N] in bf16 with fp32 sums. They run beside the threads until wait_products: until then neither D nor A's
// registers nor the shared memory may be touched. Where elements stand is written in hopper_layout.h.
#pragma once

#include "device/barrier.cuh"
#include "kernels/cuda/hopper_layout.h"

namespace longspan::cuda {

// Before the first product, and again after registers of D or A have been written.
__device__ __forceinline__ void fence_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

// Ends a group of products.
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Until at most the kPending youngest groups still run.
template <int kPending>
__device__ __forceinline__ void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The compiler may not move its accesses to D across this place: it does not see those of the tensor cores.
template <int kCount>
__device__ __forceinline__ void pin(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// What a product reads from a tile of `rows_of_tile` rows, from a place that step_offset gives.
__device__ __forceinline__ std::uint64_t operand(const void* shared, int rows_of_tile) {
  return operand_descriptor(shared_address(shared), rows_of_tile);
}

// What a product does with what D holds.
enum class Sum { kFresh, kAdd };

// One step, 16 deep. A [64, 16] with its depth along columns (see operand(), step_offset) or in registers; N is twice
// the registers of D.
#define LS_EIGHT(i)                                                                                           \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])

template <Depth kDepthOfB>
__device__ __forceinline__ void multiply(float (&d)[32], std::uint64_t a, std::uint64_t b, Sum sum) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "%32, %33, keep, 1, 1, 0, %35;\n"
      "}\n"
      : LS_EIGHT(0), LS_EIGHT(8), LS_EIGHT(16), LS_EIGHT(24)
      : "l"(a), "l"(b), "r"(static_cast<int>(sum)), "n"(static_cast<int>(kDepthOfB))
      : "memory");
}

template <Depth kDepthOfB>
__device__ __forceinline__ void multiply(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b, Sum sum) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
      "{%32, %33, %34, %35}, %36, keep, 1, 1, %38;\n"
      "}\n"
      : LS_EIGHT(0), LS_EIGHT(8), LS_EIGHT(16), LS_EIGHT(24)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(sum)), "n"(static_cast<int>(kDepthOfB))
      : "memory");
}

template <Depth kDepthOfB>
__device__ __forceinline__ void multiply(float (&d)[64], std::uint64_t a, std::uint64_t b, Sum sum) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "%64, %65, keep, 1, 1, 0, %67;\n"
      "}\n"
      : LS_EIGHT(0), LS_EIGHT(8), LS_EIGHT(16), LS_EIGHT(24), LS_EIGHT(32), LS_EIGHT(40), LS_EIGHT(48), LS_EIGHT(56)
      : "l"(a), "l"(b), "r"(static_cast<int>(sum)), "n"(static_cast<int>(kDepthOfB))
      : "memory");
}

template <Depth kDepthOfB>
__device__ __forceinline__ void multiply(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b, Sum sum) {
  asm volatile(
      "{\n"
      ".reg .pred keep;\n"
      "setp.ne.b32 keep, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, %68, keep, 1, 1, %70;\n"
      "}\n"
      : LS_EIGHT(0), LS_EIGHT(8), LS_EIGHT(16), LS_EIGHT(24), LS_EIGHT(32), LS_EIGHT(40), LS_EIGHT(48), LS_EIGHT(56)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(sum)), "n"(static_cast<int>(kDepthOfB))
      : "memory");
}

#undef LS_EIGHT

}  // namespace longspan::cuda
