#include "trainer/check/context_layer.h"

#include "kernels/core/host_copy.h"
#include "trainer/check/bench_tools.h"

namespace longspan {
namespace {

// Inputs, results and their gradients at four bytes, and what aligning them takes.
std::int64_t operand_bytes(std::int64_t tokens, const AttentionDesc& desc) {
  const std::int64_t widths = (desc.heads + desc.kv_heads) * (desc.head_dim + desc.value_dim);
  return 4 * tokens * (2 * widths + desc.heads) + 1024;
}

template <class Call>
LayerCallSample sample(const Exec& exec, ContextAttention& attention, Communicator& comm, Call call) {
  LayerCallSample sample;
  comm.barrier();
  const std::int64_t bytes_before = comm.bytes_sent();
  const auto begin = exec.runtime->make_event(EventTiming::kOn), end = exec.runtime->make_event(EventTiming::kOn);
  begin->record(exec.stream);
  call(exec);
  end->record(exec.stream);
  end->wait();
  sample.seconds = 1e-3 * end->milliseconds_since(*begin);
  sample.stats = attention.stats();
  sample.comm_bytes = comm.bytes_sent() - bytes_before;
  return sample;
}

}  // namespace

ContextLayer::ContextLayer(const ContextAttention& attention, const AttentionDesc& desc, int rank,
                           const RankDevice& device, int num_threads)
    : tokens_(attention.plan().tokens_of(rank)),
      device_(device),
      num_threads_(num_threads),
      operands_("attention layer", operand_bytes(tokens_, desc), device.runtime()),
      forward_scratch_("forward", attention.forward_workspace_bytes(), device.runtime()),
      backward_scratch_("backward", attention.backward_workspace_bytes(), device.runtime()) {
  forward_.q = make("q", desc.dtype, desc.heads, desc.head_dim);
  forward_.k = make("k", desc.dtype, desc.kv_heads, desc.head_dim);
  forward_.v = make("v", desc.dtype, desc.kv_heads, desc.value_dim);
  forward_.out = make("out", desc.dtype, desc.heads, desc.value_dim);
  forward_.lse = make("lse", DType::kF32, desc.heads, 1).view({tokens_, desc.heads});
  backward_.q = forward_.q;
  backward_.k = forward_.k;
  backward_.v = forward_.v;
  backward_.out = forward_.out;
  backward_.lse = forward_.lse;
  backward_.dout = make("dout", desc.dtype, desc.heads, desc.value_dim);
  backward_.dq = make("dq", desc.dtype, desc.heads, desc.head_dim);
  backward_.dk = make("dk", desc.dtype, desc.kv_heads, desc.head_dim);
  backward_.dv = make("dv", desc.dtype, desc.kv_heads, desc.value_dim);
  auto seed = static_cast<std::uint64_t>(rank) * 4;
  for (const Tensor& input : {forward_.q, forward_.k, forward_.v, backward_.dout})
    fill_on_host(device.exec(num_threads, nullptr), input, [&](const Tensor& host) { fill_random(host, seed++); });
}

Tensor ContextLayer::make(std::string_view name, DType dtype, std::int64_t heads, std::int64_t size) {
  return operands_.allocate(name, MemoryCategory::kActivations, dtype, {tokens_, heads, size});
}

LayerSample ContextLayer::run(ContextAttention& attention, Communicator& comm) {
  LayerSample samples;
  samples.forward = sample(device_.exec(num_threads_, &forward_scratch_), attention, comm,
                           [&](const Exec& exec) { attention.forward(exec, forward_); });
  samples.backward = sample(device_.exec(num_threads_, &backward_scratch_), attention, comm,
                            [&](const Exec& exec) { attention.backward(exec, backward_); });
  return samples;
}

std::int64_t ContextLayer::forward_buffer_bytes() const {
  return forward_scratch_.category_bytes_at_peak(MemoryCategory::kTransfers);
}

std::int64_t ContextLayer::backward_buffer_bytes() const {
  return backward_scratch_.category_bytes_at_peak(MemoryCategory::kTransfers);
}

}  // namespace longspan
