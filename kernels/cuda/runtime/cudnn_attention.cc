// Attention of whole rows by cuDNN, through its C++ front end: documents of one length, bf16. A graph is built once for
// each shape and thread; what cuDNN will not build is a refusal in its own words.
#include <array>
#include <compare>
#include <cudnn_frontend.h>
#include <map>
#include <memory>
#include <unordered_map>

#include "kernels/cuda/attention/document_batch.h"
#include "kernels/ops/cuda_list.h"

namespace longspan::cuda {
namespace {

namespace fe = cudnn_frontend;

enum TensorId : std::int64_t { kQuery = 1, kKey, kValue, kOut, kStats };

// All that a graph depends on.
struct Shape {
  std::int64_t documents, length, heads, kv_heads, head_dim, value_dim;
  DocumentBatch::Mask mask;
  float scale;
  std::array<std::array<std::int64_t, 2>, 5> strides;  // of a token and a head, in elements: q, k, v, out, lse
  auto operator<=>(const Shape&) const = default;
};

Shape shape_of(const DocumentBatch& batch, const WholeAttention& args) {
  const AttentionDesc& desc = args.desc;
  Shape shape{batch.documents, batch.length, desc.heads, desc.kv_heads, desc.head_dim, desc.value_dim,
              batch.mask,      desc.scale,   {}};
  const std::array<const Tensor*, 5> tensors = {&args.q, &args.k, &args.v, &args.out, &args.lse};
  for (std::size_t i = 0; i < tensors.size(); ++i) shape.strides[i] = {tensors[i]->stride[0], tensors[i]->stride[1]};
  return shape;
}

// One thread's: cuDNN wants a handle not to be shared between threads at work.
class Library {
 public:
  struct Built {
    std::unique_ptr<fe::graph::Graph> graph;
    std::string refusal;  // empty: the graph can run
  };

  static Library& of_thread() {
    thread_local Library library;
    return library;
  }
  ~Library() {
    if (handle_ != nullptr) cudnnDestroy(handle_);
  }

  const Built& build(const Shape& shape) {
    const auto known = built_.find(shape);
    if (known != built_.end()) return known->second;
    Built& built = built_[shape];
    if (handle_ == nullptr) {
      if (const cudnnStatus_t status = cudnnCreate(&handle_); status != CUDNN_STATUS_SUCCESS) {
        handle_ = nullptr;
        built.refusal = fmt::format("cudnnCreate: {}", cudnnGetErrorString(status));
        return built;
      }
    }
    built.graph = describe(shape);
    if (auto status = built.graph->build(handle_, {fe::HeurMode_t::A}); status.is_bad())
      built.refusal = status.get_message();
    else if (built.graph->get_workspace_size() > kWholeAttentionScratch)
      built.refusal = fmt::format("cuDNN wants {} bytes of scratch", built.graph->get_workspace_size());
    if (!built.refusal.empty()) built.graph.reset();
    return built;
  }

  void run(const Built& built, const Exec& exec, const WholeAttention& args) {
    std::unordered_map<std::int64_t, void*> memory = {{kQuery, args.q.data},
                                                      {kKey, args.k.data},
                                                      {kValue, args.v.data},
                                                      {kOut, args.out.data},
                                                      {kStats, args.lse.data}};
    const cudnnStatus_t selected = cudnnSetStream(handle_, static_cast<cudaStream_t>(exec.stream.handle));
    LS_REQUIRE(kEnvironment, selected == CUDNN_STATUS_SUCCESS, "cuDNN does not take the stream: {}",
               cudnnGetErrorString(selected));
    auto status = built.graph->execute(handle_, memory, args.scratch.data);
    LS_REQUIRE(kEnvironment, status.is_good(), "cuDNN's attention {} failed: {}", args.desc.describe(),
               status.get_message());
  }

 private:
  static std::unique_ptr<fe::graph::Graph> describe(const Shape& shape) {
    auto graph = std::make_unique<fe::graph::Graph>();
    graph->set_io_data_type(fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    // [documents, heads, tokens, size], wherever a token and a head lie.
    const auto sizes = [&](std::int64_t heads, std::int64_t size) {
      return std::vector<std::int64_t>{shape.documents, heads, shape.length, size};
    };
    const auto strides = [&](int tensor) {
      const auto [token, head] = shape.strides[static_cast<std::size_t>(tensor)];
      return std::vector<std::int64_t>{shape.length * token, head, token, 1};
    };
    const auto operand = [&](const char* name, TensorId id, std::int64_t heads, std::int64_t size) {
      return graph->tensor(fe::graph::Tensor_attributes()
                               .set_name(name)
                               .set_uid(id)
                               .set_dim(sizes(heads, size))
                               .set_stride(strides(static_cast<int>(id) - 1)));
    };
    const auto q = operand("q", kQuery, shape.heads, shape.head_dim);
    const auto k = operand("k", kKey, shape.kv_heads, shape.head_dim);
    const auto v = operand("v", kValue, shape.kv_heads, shape.value_dim);
    auto options =
        fe::graph::SDPA_attributes().set_name("attention").set_generate_stats(true).set_attn_scale(shape.scale);
    if (shape.mask == DocumentBatch::Mask::kCausal)
      options.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
    const auto [out, stats] = graph->sdpa(q, k, v, options);
    out->set_output(true).set_uid(kOut).set_dim(sizes(shape.heads, shape.value_dim)).set_stride(strides(3));
    // The natural logarithm of the sum of exponentials of scaled scores, which is lse.
    stats->set_output(true)
        .set_uid(kStats)
        .set_data_type(fe::DataType_t::FLOAT)
        .set_dim(sizes(shape.heads, 1))
        .set_stride(strides(4));
    return graph;
  }

  cudnnHandle_t handle_ = nullptr;
  std::map<Shape, Built> built_;
};

class CudnnAttention final : public WholeAttentionOp {
 public:
  std::string_view name() const override { return "cuda cudnn"; }

  Refusal why_unsupported(const Exec& exec, const WholeAttention& args) const override {
    if (exec.device != Device::kCuda) return "needs a GPU";
    if (args.desc.dtype != DType::kBF16) return "takes bf16";
    if (args.desc.origin != SoftmaxOrigin::kMaximum) return "measures softmax from the maximum";
    if (args.scratch.num_bytes() < kWholeAttentionScratch) return "is given no scratch";
    const auto batch = read_document_batch(args.tasks, args.q.shape[0], args.k.shape[0], args.desc.heads);
    if (const auto* why = std::get_if<std::string>(&batch)) return *why;
    const auto& built = Library::of_thread().build(shape_of(std::get<DocumentBatch>(batch), args));
    if (!built.refusal.empty()) return built.refusal;
    return {};
  }

  void forward(const Exec& exec, const WholeAttention& args) const override {
    const auto batch = read_document_batch(args.tasks, args.q.shape[0], args.k.shape[0], args.desc.heads);
    Library& library = Library::of_thread();
    library.run(library.build(shape_of(std::get<DocumentBatch>(batch), args)), exec, args);
  }
};

}  // namespace

std::span<const WholeAttentionOp* const> whole_attention_ops() {
  static const CudnnAttention attention;
  static const std::array<const WholeAttentionOp*, 1> kList = {&attention};
  return kList;
}

}  // namespace longspan::cuda
