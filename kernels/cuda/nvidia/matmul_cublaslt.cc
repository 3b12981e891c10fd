// Matrix products by cuBLASLt. What it has no algorithm for (odd strides of bf16, say) is computed by our own kernel.
#include <algorithm>
#include <array>
#include <compare>
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <map>
#include <memory>
#include <optional>
#include <type_traits>

#include "device/launch.cuh"
#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/matmul_tiled.h"
#include "kernels/cuda/runtime/status.h"

namespace longspan::cuda {
namespace {

constexpr std::int64_t kWorkspaceBytes = std::int64_t{32} << 20;  // what the library asks for on Hopper
constexpr std::int64_t kWorkspaceAlignment = 256;

void expect_library(cublasStatus_t status, std::string_view attempt) {
  LS_REQUIRE(kEnvironment, status == CUBLAS_STATUS_SUCCESS, "matmul: cuBLASLt cannot {}: {}", attempt,
             cublasLtGetStatusString(status));
}

template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct Destroyed {
  using Opaque = std::remove_pointer_t<Handle>;
  struct Destroy {
    void operator()(Handle handle) const { destroy(handle); }
  };
  using Pointer = std::unique_ptr<Opaque, Destroy>;
};
using LibraryHandle = Destroyed<cublasLtHandle_t, cublasLtDestroy>::Pointer;
using Operation = Destroyed<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>::Pointer;
using MatrixLayout = Destroyed<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>::Pointer;
using Preference = Destroyed<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>::Pointer;

// A matrix in memory, as the choice of an algorithm depends on it: rows one after another.
struct Matrix {
  DType dtype;
  std::int64_t rows, columns, stride;
  std::int64_t alignment;  // of its address, in bytes, 256 at most
  auto operator<=>(const Matrix&) const = default;
};

Matrix describe(const Tensor& x) {
  const auto address = reinterpret_cast<std::uintptr_t>(x.data) | std::uintptr_t{kWorkspaceAlignment};
  // A matrix of one row may come with any stride; the library wants one that covers the row.
  return {x.dtype, x.shape[0], x.shape[1], std::max(x.stride[0], x.shape[1]),
          static_cast<std::int64_t>(address & (~address + 1))};
}

struct Problem {
  Matrix a, b, c;
  Matrix added;  // what the product is added to: the residual, or c itself
  Layout a_layout, b_layout;
  bool has_bias;
  int multiprocessors;  // 0: all
  auto operator<=>(const Problem&) const = default;
};

cudaDataType_t type_of(DType dtype) {
  return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

// To the library, which reads columns one after another, every matrix is its transpose: c^T = b^T a^T.
MatrixLayout make_layout(const Matrix& matrix) {
  cublasLtMatrixLayout_t layout = nullptr;
  expect_library(cublasLtMatrixLayoutCreate(&layout, type_of(matrix.dtype), static_cast<std::uint64_t>(matrix.columns),
                                            static_cast<std::uint64_t>(matrix.rows), matrix.stride),
                 "describe a matrix");
  return MatrixLayout(layout);
}

template <class T>
void set(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  expect_library(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof(value)), "describe a product");
}
template <class T>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  expect_library(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
                 "choose an algorithm");
}

// fp32 sums, of fp32 operands without rounding them to TF32.
Operation make_operation(const Problem& problem) {
  cublasLtMatmulDesc_t raw = nullptr;
  expect_library(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe a product");
  Operation operation(raw);
  const auto letter = [](Layout layout) { return layout == Layout::kPlain ? CUBLAS_OP_N : CUBLAS_OP_T; };
  set(raw, CUBLASLT_MATMUL_DESC_TRANSA, letter(problem.b_layout));
  set(raw, CUBLASLT_MATMUL_DESC_TRANSB, letter(problem.a_layout));
  if (problem.has_bias) {
    set(raw, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(raw, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(problem.a.dtype));
  }
  if (problem.multiprocessors > 0)
    set(raw, CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, std::int32_t{problem.multiprocessors});
  return operation;
}

struct Plan {
  Operation operation;
  MatrixLayout a, b, c, added;
  std::optional<cublasLtMatmulAlgo_t> algorithm;  // none: the library has none
};

Plan make_plan(cublasLtHandle_t library, const Problem& problem) {
  Plan plan{make_operation(problem), make_layout(problem.a),     make_layout(problem.b),
            make_layout(problem.c),  make_layout(problem.added), {}};
  cublasLtMatmulPreference_t raw = nullptr;
  expect_library(cublasLtMatmulPreferenceCreate(&raw), "choose an algorithm");
  const Preference preference(raw);
  set(raw, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::uint64_t>(kWorkspaceBytes));
  // Parts of a sum over k are added up in fp32, never in c's dtype.
  set(raw, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const auto bytes = [](const Matrix& matrix) { return static_cast<std::uint32_t>(matrix.alignment); };
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, bytes(problem.b));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, bytes(problem.a));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, bytes(problem.added));
  set(raw, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, bytes(problem.c));
  cublasLtMatmulHeuristicResult_t found{};
  int num_found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(library, plan.operation.get(), plan.b.get(), plan.a.get(), plan.added.get(),
                                     plan.c.get(), raw, 1, &found, &num_found);
  if (status == CUBLAS_STATUS_SUCCESS && num_found == 1 && found.state == CUBLAS_STATUS_SUCCESS)
    plan.algorithm = found.algo;
  else if (status != CUBLAS_STATUS_SUCCESS && status != CUBLAS_STATUS_NOT_SUPPORTED)
    expect_library(status, "choose an algorithm");
  return plan;
}

// The library and the plans of one device, for one thread: a rank is a thread, and neither is shared.
class Library {
 public:
  static Library& of_this_thread() {
    int device = 0;
    expect_success(cudaGetDevice(&device), "tell the current device");
    thread_local std::map<int, Library> libraries;
    return libraries[device];
  }
  cublasLtHandle_t handle() const { return handle_.get(); }
  const Plan& plan_of(const Problem& problem) {
    const auto found = plans_.find(problem);
    if (found != plans_.end()) return found->second;
    constexpr std::size_t kCapacity = 512;  // lengths change from step to step
    if (plans_.size() == kCapacity) plans_.clear();
    return plans_.emplace(problem, make_plan(handle(), problem)).first->second;
  }

  Library() {
    cublasLtHandle_t raw = nullptr;
    expect_library(cublasLtCreate(&raw), "start");
    handle_.reset(raw);
  }

 private:
  LibraryHandle handle_;
  std::map<Problem, Plan> plans_;
};

// How many multiprocessors a product may use; 0: all.
int multiprocessors_for(const Exec& exec) {
  if (exec.reserved_multiprocessors == 0) return 0;
  return std::max(1, properties_of(exec).multiprocessors - exec.reserved_multiprocessors);
}

void run(const Exec& exec, const Matmul& args) {
  const std::int64_t m = args.c.size(0), n = args.c.size(1);
  if (m == 0 || n == 0 || args.a.numel() == 0) return matmul_tiled(exec, args);  // the library has no empty products
  const Tensor& added = args.residual ? args.residual : args.c;
  Library& library = Library::of_this_thread();
  const Plan& plan = library.plan_of({.a = describe(args.a),
                                      .b = describe(args.b),
                                      .c = describe(args.c),
                                      .added = describe(added),
                                      .a_layout = args.a_layout,
                                      .b_layout = args.b_layout,
                                      .has_bias = static_cast<bool>(args.bias),
                                      .multiprocessors = multiprocessors_for(exec)});
  if (!plan.algorithm) return matmul_tiled(exec, args);
  LS_CHECK(exec.workspace, "matmul of {} and {} needs a workspace", args.a.describe(), args.b.describe());
  Arena::Scope scope(*exec.workspace);
  const Tensor scratch = exec.workspace->allocate("cuBLASLt scratch", MemoryCategory::kWorkspace, DType::kI8,
                                                  {kWorkspaceBytes + kWorkspaceAlignment});
  const auto address = reinterpret_cast<std::uintptr_t>(scratch.data);
  void* aligned =
      reinterpret_cast<void*>((address + kWorkspaceAlignment - 1) / kWorkspaceAlignment * kWorkspaceAlignment);
  if (args.bias) set(plan.operation.get(), CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(args.bias.data));
  const float one = 1, beta = args.residual || args.mode == WriteMode::kAccumulate ? 1.0f : 0.0f;
  const cublasStatus_t status =
      cublasLtMatmul(library.handle(), plan.operation.get(), &one, args.b.data, plan.b.get(), args.a.data, plan.a.get(),
                     &beta, added.data, plan.added.get(), args.c.data, plan.c.get(), &*plan.algorithm, aligned,
                     static_cast<std::size_t>(kWorkspaceBytes), static_cast<cudaStream_t>(exec.stream.handle));
  LS_REQUIRE(kEnvironment, status == CUBLAS_STATUS_SUCCESS, "matmul of {} and {} into {}: cuBLASLt: {}",
             args.a.describe(), args.b.describe(), args.c.describe(), cublasLtGetStatusString(status));
}

Refusal why_unsupported(const KernelDesc& desc) {
  if (desc.dtype == DType::kF32 && desc.result != DType::kF32) return "fp32 operands give an fp32 result";
  return needs_cuda(desc);
}

constexpr Kernel<Matmul> kCublasLt{"cuBLASLt", why_unsupported, run};

}  // namespace

KernelList<Matmul> library_matmuls() {
  static constexpr std::array<const Kernel<Matmul>*, 1> kList = {&kCublasLt};
  return kList;
}

}  // namespace longspan::cuda
