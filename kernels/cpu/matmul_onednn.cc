#include <dnnl.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>

#include "kernels/cpu/matmul.h"
#include "kernels/ops/kernel_list.h"

namespace longspan::cpu {
namespace {

// All that a oneDNN primitive is built for. Building one takes far longer than a small product.
struct PrimitiveKey {
  MatmulSizes sizes;
  std::int64_t a_stride, b_stride, c_stride;
  Layout a_layout, b_layout;
  DType dtype, c_dtype;
  WriteMode mode;
  bool has_bias;
  int num_threads;

  auto operator<=>(const PrimitiveKey&) const = default;
};

dnnl::memory::data_type type_of(DType dtype) {
  return dtype == DType::kBF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

dnnl::memory::desc matrix_desc(std::int64_t rows, std::int64_t columns, std::int64_t stride, Layout layout,
                               DType dtype) {
  const auto strides = layout == Layout::kPlain ? dnnl::memory::dims{stride, 1} : dnnl::memory::dims{1, stride};
  return {{rows, columns}, type_of(dtype), strides};
}

// Scratch belongs to the call, not to the primitive: a cache of primitives would hold on to all of it.
dnnl::matmul::primitive_desc describe(const PrimitiveKey& key, const dnnl::engine& engine) {
  const auto [m, n, k] = key.sizes;
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (key.mode == WriteMode::kAccumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const auto a = matrix_desc(m, k, key.a_stride, key.a_layout, key.dtype);
  const auto b = matrix_desc(k, n, key.b_stride, key.b_layout, key.dtype);
  const auto c = matrix_desc(m, n, key.c_stride, Layout::kPlain, key.c_dtype);
  if (!key.has_bias) return {dnnl::matmul::desc(a, b, c), attributes, engine};
  const auto bias = matrix_desc(1, n, n, Layout::kPlain, key.dtype);
  return {dnnl::matmul::desc(a, b, bias, c), attributes, engine};
}

// The primitives of one thread. Training meets few shapes; where documents bring ever new ones it starts afresh.
class PrimitiveCache {
 public:
  static constexpr std::size_t kCapacity = 256;

  struct Entry {
    dnnl::matmul::primitive_desc desc;
    dnnl::matmul primitive;
  };

  const Entry& get(const PrimitiveKey& key) {
    const auto found = entries_.find(key);
    if (found != entries_.end()) return found->second;
    if (entries_.size() == kCapacity) entries_.clear();
    const auto desc = describe(key, engine_);
    return entries_.emplace(key, Entry{desc, dnnl::matmul(desc)}).first->second;
  }
  const dnnl::engine& engine() const { return engine_; }
  dnnl::stream& stream() { return stream_; }

 private:
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::map<PrimitiveKey, Entry> entries_;
};

PrimitiveCache& cache_of_this_thread() {
  thread_local PrimitiveCache cache;
  return cache;
}

PrimitiveKey key_of(const Exec& exec, const Matmul& args) {
  const auto stride = [](const Tensor& matrix) { return std::max(matrix.stride[0], matrix.shape[1]); };
  return {.sizes = sizes_of(args),
          .a_stride = stride(args.a),
          .b_stride = stride(args.b),
          .c_stride = stride(args.c),
          .a_layout = args.a_layout,
          .b_layout = args.b_layout,
          .dtype = args.a.dtype,
          .c_dtype = args.c.dtype,
          .mode = args.mode,
          .has_bias = static_cast<bool>(args.bias),
          .num_threads = exec.num_threads};
}

bool cpu_has_bf16_products() {
  static const bool available = [] {
    const PrimitiveKey probe{
        {16, 16, 16},          16,    16, 16, Layout::kPlain, Layout::kPlain, DType::kBF16, DType::kF32,
        WriteMode::kOverwrite, false, 1};
    try {
      describe(probe, dnnl::engine(dnnl::engine::kind::cpu, 0));
      return true;
    } catch (const dnnl::error&) {
      return false;
    }
  }();
  return available;
}

Refusal why_unsupported(const KernelDesc& desc) {
  if (desc.dtype == DType::kBF16 && !cpu_has_bf16_products()) return "oneDNN multiplies bf16 only with AVX-512";
  if (desc.dtype == DType::kF32 && desc.result != DType::kF32) return "fp32 operands give an fp32 result";
  return needs_cpu(desc);
}

void run(const Exec& exec, const Matmul& args) {
  if (args.residual) return run(exec, started_with_residual(exec, args));
  const auto [m, n, k] = sizes_of(args);
  if (m == 0 || n == 0 || k == 0) return kMatmulConverted.run(exec, args);  // oneDNN has no empty products
  LS_CHECK(exec.workspace, "matmul of {} and {} needs a workspace", args.a.describe(), args.b.describe());
  OmpThreads threads(exec.num_threads);
  Arena::Scope scope(*exec.workspace);
  try {
    PrimitiveCache& cache = cache_of_this_thread();
    const auto& [desc, primitive] = cache.get(key_of(exec, args));
    const auto num_bytes = static_cast<std::int64_t>(desc.scratchpad_desc().get_size());
    const Tensor scratch =
        exec.workspace->allocate("oneDNN scratch", MemoryCategory::kWorkspace, DType::kF32, {(num_bytes + 3) / 4});
    std::unordered_map<int, dnnl::memory> operands = {
        {DNNL_ARG_SRC, {desc.src_desc(), cache.engine(), args.a.data}},
        {DNNL_ARG_WEIGHTS, {desc.weights_desc(), cache.engine(), args.b.data}},
        {DNNL_ARG_DST, {desc.dst_desc(), cache.engine(), args.c.data}},
        {DNNL_ARG_SCRATCHPAD, {desc.scratchpad_desc(), cache.engine(), scratch.data}}};
    if (args.bias) operands[DNNL_ARG_BIAS] = {desc.bias_desc(), cache.engine(), args.bias.data};
    primitive.execute(cache.stream(), operands);
    cache.stream().wait();
  } catch (const dnnl::error& error) {
    fail(ErrorKind::kInternal, "matmul of {} and {} into {}: oneDNN: {}", args.a.describe(), args.b.describe(),
         args.c.describe(), error.what());
  }
}

}  // namespace

std::string matmul_instruction_set() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41: return "SSE4.1";
    case dnnl::cpu_isa::avx: return "AVX";
    case dnnl::cpu_isa::avx2: return "AVX2";
    case dnnl::cpu_isa::avx2_vnni: return "AVX2 with VNNI";
    case dnnl::cpu_isa::avx512_core: return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni: return "AVX-512 with VNNI";
    case dnnl::cpu_isa::avx512_core_bf16: return "AVX-512 with bf16";
    case dnnl::cpu_isa::avx512_core_amx: return "AVX-512 with AMX";
    default: return "another instruction set";
  }
}

const Kernel<Matmul> kMatmulOneDnn{"oneDNN matmul", why_unsupported, run};

}  // namespace longspan::cpu
