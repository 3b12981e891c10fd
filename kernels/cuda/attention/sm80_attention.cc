// Attention on tensor cores that warps feed, as an implementation in the list: what it refuses, how rows may be read.
#include <algorithm>

#include "kernels/cuda/attention/sm80_kernels.h"
#include "kernels/cuda/attention/sm80_shapes.h"
#include "kernels/cuda/cuda_kernels.h"

namespace longspan::cuda {
namespace sm80 {
namespace {

// Whether every row of the tensor begins at a multiple of `num_bytes` and holds whole multiples of it.
bool suits(const Tensor& t, std::int64_t num_bytes) {
  const std::int64_t elements = num_bytes / size_of(t.dtype);
  return reinterpret_cast<std::uintptr_t>(t.data) % static_cast<std::uintptr_t>(num_bytes) == 0 &&
         t.stride[0] % elements == 0 && t.stride[1] % elements == 0 && t.shape[2] % elements == 0;
}
Access access_of(std::initializer_list<Tensor> tensors, std::int64_t num_bytes) {
  const bool all = std::all_of(tensors.begin(), tensors.end(), [&](const Tensor& t) { return suits(t, num_bytes); });
  return all ? Access::kVectors : Access::kElements;
}

Sizes sizes_of(const AttentionDesc& desc, const Tensor& q, const Tensor& k) {
  Sizes sizes;
  sizes.num_queries = static_cast<int>(q.shape[0]);
  sizes.num_keys = static_cast<int>(k.shape[0]);
  sizes.heads_per_kv = static_cast<int>(desc.heads / desc.kv_heads);
  sizes.head_dim = static_cast<int>(desc.head_dim);
  sizes.value_dim = static_cast<int>(desc.value_dim);
  sizes.scale = desc.scale;
  sizes.origin = desc.origin;
  return sizes;
}

constexpr std::int64_t kInputBytes = 16, kResultBytes = 8;

class Sm80Attention final : public AttentionOp {
 public:
  std::string_view name() const override { return "sm80"; }

  Refusal why_unsupported(const AttentionDesc& desc) const override {
    if (desc.device != Device::kCuda) return fmt::format("runs on cuda, not on {}", name_of(desc.device));
    if (desc.head_dim > kMaxWidth || desc.value_dim > kMaxWidth)
      return fmt::format("head sizes up to {}, not {} and {}", kMaxWidth, desc.head_dim, desc.value_dim);
    if (desc.dtype != DType::kBF16) return fmt::format("takes bf16, not {}", name_of(desc.dtype));
    return std::nullopt;
  }

  void forward(const Exec& exec, const AttentionForward& args) const override {
    ForwardArgs forward;
    forward.q = rows_of<const bf16>(args.q);
    forward.k = rows_of<const bf16>(args.k);
    forward.v = rows_of<const bf16>(args.v);
    forward.out = rows_of<float>(args.out);
    forward.lse = rows_of<float>(args.lse);
    forward.sizes = sizes_of(args.desc, args.q, args.k);
    forward.sizes.inputs = access_of({args.q, args.k, args.v}, kInputBytes);
    forward.sizes.results = access_of({args.out}, kResultBytes);
    launch_forward(exec, args, forward);
  }

  // dq goes by queries, dk and dv by keys: scores are computed twice, and in return nothing is shared between blocks.
  void backward(const Exec& exec, const AttentionBackward& args) const override {
    BackwardArgs backward;
    backward.q = rows_of<const bf16>(args.q);
    backward.k = rows_of<const bf16>(args.k);
    backward.v = rows_of<const bf16>(args.v);
    backward.dout = rows_of<const bf16>(args.dout);
    backward.lse = rows_of<const float>(args.lse);
    backward.delta = rows_of<const float>(args.delta);
    backward.dq = rows_of<float>(args.dq);
    backward.dk = rows_of<float>(args.dk);
    backward.dv = rows_of<float>(args.dv);
    backward.sizes = sizes_of(args.desc, args.q, args.k);
    backward.sizes.inputs = access_of({args.q, args.k, args.v, args.dout}, kInputBytes);
    backward.sizes.results = access_of({args.dq, args.dk, args.dv}, kResultBytes);
    launch_backward_queries(exec, args, backward);
    launch_backward_keys(exec, args, backward);
  }
};

}  // namespace
}  // namespace sm80

const AttentionOp& sm80_attention() {
  static const sm80::Sm80Attention op;
  return op;
}

}  // namespace longspan::cuda
