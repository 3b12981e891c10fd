#include "trainer/check/check_runner.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "kernels/core/host_copy.h"
#include "parallel/context/executor.h"
#include "parallel/context/planner.h"

namespace longspan {
namespace {

constexpr double kForwardBound = 1e-5;
constexpr double kGradientBound = 3e-5;
constexpr double kBf16Ratio = 2;
constexpr double kBf16Bound = 2e-2;

template <class Visit>
void for_each_token(const std::vector<TokenRun>& runs, const Visit& visit) {
  std::int64_t local = 0;
  for (const TokenRun& run : runs) {
    for (std::int64_t i = 0; i < run.count; ++i) visit(local++, run.first + i * run.stride);
  }
}

void store(const Tensor& tensor, std::int64_t index, float value) {
  if (tensor.dtype == DType::kBF16) {
    tensor.get<bf16>()[index] = bf16(value);
  } else {
    tensor.get<float>()[index] = value;
  }
}

float load(const Tensor& tensor, std::int64_t index) {
  return tensor.dtype == DType::kBF16 ? static_cast<float>(tensor.get<bf16>()[index]) : tensor.get<float>()[index];
}

// One rank's share of a case.
class Shard {
 public:
  Shard(Communicator& comm, const ContextPlan& plan, DType dtype, const Exec& exec, Arena& arena)
      : comm_(comm), plan_(plan), dtype_(dtype), exec_(exec), arena_(arena) {}

  // [c, heads, dim] for the c tokens of this rank.
  Tensor make(std::string_view name, DType dtype, std::int64_t heads, std::int64_t dim) {
    return arena_.allocate(name, MemoryCategory::kActivations, dtype, {plan_.tokens_of(comm_.rank()), heads, dim});
  }
  Tensor make(std::string_view name, std::int64_t heads, std::int64_t dim) { return make(name, dtype_, heads, dim); }

  // This rank's tokens of a whole tensor [T, heads, dim].
  Tensor take(std::string_view name, const std::vector<float>& whole, std::int64_t heads, std::int64_t dim) {
    const Tensor mine = make(name, heads, dim);
    const std::int64_t row = heads * dim;
    fill_on_host(exec_, mine, [&](const Tensor& host) {
      for_each_token(home(comm_.rank()), [&](std::int64_t local, std::int64_t token) {
        for (std::int64_t i = 0; i < row; ++i) {
          store(host, local * row + i, whole[static_cast<std::size_t>(token * row + i)]);
        }
      });
    });
    return mine;
  }

  // The inverse of take: the whole tensor from every rank's share.
  std::vector<float> gather(const Tensor& mine) {
    const std::int64_t row = mine.shape[1] * (mine.dims > 2 ? mine.shape[2] : 1);
    const HostCopy copy(exec_, mine);
    std::vector<float> share(static_cast<std::size_t>(mine.numel()));
    for (std::int64_t i = 0; i < mine.numel(); ++i) share[static_cast<std::size_t>(i)] = load(copy.tensor(), i);
    std::vector<std::int64_t> counts;
    for (int rank = 0; rank < comm_.size(); ++rank) counts.push_back(plan_.tokens_of(rank) * row);
    const std::int64_t total = plan_.problem.num_tokens() * row;
    std::vector<float> shares(static_cast<std::size_t>(total)), whole(static_cast<std::size_t>(total));
    comm_.all_gather_v(Tensor(share.data(), DType::kF32, {mine.numel()}), Tensor(shares.data(), DType::kF32, {total}),
                       counts);
    std::int64_t begin = 0;
    for (int rank = 0; rank < comm_.size(); ++rank) {
      for_each_token(home(rank), [&](std::int64_t local, std::int64_t token) {
        std::copy_n(&shares[static_cast<std::size_t>(begin + local * row)], row,
                    &whole[static_cast<std::size_t>(token * row)]);
      });
      begin += counts[static_cast<std::size_t>(rank)];
    }
    return whole;
  }

 private:
  const std::vector<TokenRun>& home(int rank) const { return plan_.home[static_cast<std::size_t>(rank)]; }

  Communicator& comm_;
  const ContextPlan& plan_;
  DType dtype_;
  const Exec& exec_;
  Arena& arena_;
};

// Inputs, results and their gradients of one rank, and what aligning them takes.
std::int64_t operand_bytes(const AttentionDesc& desc, std::int64_t tokens) {
  const std::int64_t widths = (desc.heads + desc.kv_heads) * (desc.head_dim + desc.value_dim);
  return 4 * (2 * tokens * widths + (tokens + 2) * desc.heads) + 4096;
}

AttentionDesc describe(const AttentionCase& c, DType precision, Device device) {
  AttentionDesc desc;
  desc.device = device;
  desc.dtype = precision;
  desc.heads = c.problem.heads;
  desc.kv_heads = c.problem.kv_heads;
  desc.head_dim = c.head_dim;
  desc.value_dim = c.value_dim;
  desc.scale = c.scale;
  return desc;
}

// log(exp(lse) + exp(sink)): what the operator returns, from what the case gives.
std::vector<double> expected_lse(const AttentionCase& c) {
  std::vector<double> total = c.lse;
  for (std::size_t i = 0; i < total.size() && !c.sink.empty(); ++i) {
    const double sink = c.sink[i % c.sink.size()];
    total[i] = std::max(total[i], sink) + std::log1p(std::exp(-std::abs(total[i] - sink)));
  }
  return total;
}

}  // namespace

AttentionResult run_attention_case(Communicator& comm, const RankDevice& device, const AttentionCase& c,
                                   const CheckOptions& options) {
  const AttentionDesc desc = describe(c, options.precision, device.device());
  const ContextSite site(comm.size(), desc);
  const auto plan = std::make_shared<const ContextPlan>(make_context_plan(options.scheme, c.problem, site));
  ContextAttention attention(plan, comm, desc, {.device = device.device()});
  Arena operands("case", operand_bytes(desc, plan->tokens_of(comm.rank())), device.runtime());
  Arena scratch("scratch", std::max(attention.forward_workspace_bytes(), attention.backward_workspace_bytes()),
                device.runtime());
  const Exec exec = device.exec(options.num_threads, &scratch);
  Shard shard(comm, *plan, options.precision, exec, operands);
  const std::int64_t heads = c.problem.heads, kv_heads = c.problem.kv_heads, D = c.head_dim, V = c.value_dim;

  ContextAttention::Forward forward;
  forward.q = shard.take("q", c.q, heads, D);
  forward.k = shard.take("k", c.k, kv_heads, D);
  forward.v = shard.take("v", c.v, kv_heads, V);
  forward.out = shard.make("out", heads, V);
  forward.lse =
      operands.allocate("lse", MemoryCategory::kActivations, DType::kF32, {plan->tokens_of(comm.rank()), heads});
  ContextAttention::Backward backward;
  if (!c.sink.empty()) {
    forward.sink = operands.allocate("sink", MemoryCategory::kWeights, DType::kF32, {heads});
    fill_on_host(exec, forward.sink,
                 [&](const Tensor& sink) { std::copy(c.sink.begin(), c.sink.end(), sink.get<float>()); });
    backward.dsink = operands.allocate_zeroed("dsink", MemoryCategory::kGradients, DType::kF32, {heads});
  }
  attention.forward(exec, forward);

  backward.q = forward.q;
  backward.k = forward.k;
  backward.v = forward.v;
  backward.sink = forward.sink;
  backward.out = forward.out;
  backward.lse = forward.lse;
  backward.dout = shard.take("dout", c.dout, heads, V);
  backward.dq = shard.make("dq", heads, D);
  backward.dk = shard.make("dk", kv_heads, D);
  backward.dv = shard.make("dv", kv_heads, V);
  attention.backward(exec, backward);

  AttentionResult result;
  result.out = shard.gather(forward.out);
  result.lse = shard.gather(forward.lse);
  result.dq = shard.gather(backward.dq);
  result.dk = shard.gather(backward.dk);
  result.dv = shard.gather(backward.dv);
  if (backward.dsink) {
    comm.all_reduce(backward.dsink, ReduceOp::kSum);
    const HostCopy dsink(exec, backward.dsink);
    result.dsink.assign(dsink.tensor().get<float>(), dsink.tensor().get<float>() + heads);
  }
  return result;
}

std::vector<TensorVerdict> judge(const AttentionCase& c, DType precision, const AttentionResult& result) {
  struct Item {
    const char* name;
    const std::vector<float> AttentionResult::*computed;
    const std::vector<double>& expected;
    double fp32_bound;
  };
  const std::vector<double> lse = expected_lse(c);
  const Item items[] = {
      {"out", &AttentionResult::out, c.out, kForwardBound}, {"lse", &AttentionResult::lse, lse, kForwardBound},
      {"dq", &AttentionResult::dq, c.dq, kGradientBound},   {"dk", &AttentionResult::dk, c.dk, kGradientBound},
      {"dv", &AttentionResult::dv, c.dv, kGradientBound},   {"dsink", &AttentionResult::dsink, c.dsink, kGradientBound},
  };
  const AttentionResult plain = precision == DType::kBF16 ? plain_bf16_attention(c) : AttentionResult{};
  std::vector<TensorVerdict> verdicts;
  for (const Item& item : items) {
    if (item.expected.empty()) continue;
    TensorVerdict verdict{item.name, deviation_of(result.*item.computed, item.expected), item.fp32_bound};
    if (precision == DType::kBF16) {
      verdict.bound = std::min(kBf16Bound, kBf16Ratio * deviation_of(plain.*item.computed, item.expected).relative);
    }
    verdicts.push_back(std::move(verdict));
  }
  return verdicts;
}

}  // namespace longspan
