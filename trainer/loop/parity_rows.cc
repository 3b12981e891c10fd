#include "trainer/loop/parity_rows.h"

#include <algorithm>
#include <cmath>

#include "models/random_normal.h"

namespace longspan {
namespace {

enum class Operand : std::uint8_t { kQuery, kKey, kValue, kOutputGradient, kSink };

// A row's key: an odd constant and the mixer of Steele et al. 2014 (SplitMix64) keep neighbours unrelated.
std::uint64_t key_of(std::uint64_t seed, Operand operand, std::int64_t token) {
  std::uint64_t key = seed;
  for (const std::uint64_t next : {static_cast<std::uint64_t>(operand), static_cast<std::uint64_t>(token)}) {
    key = (key ^ next) + 0x9e3779b97f4a7c15u;
    key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9u;
    key = (key ^ (key >> 27)) * 0x94d049bb133111ebu;
    key ^= key >> 31;
  }
  return key;
}

// These tokens' rows, in local order.
void fill_rows(const Tensor& rows, const std::vector<TokenRun>& home, std::uint64_t seed, Operand operand,
               double stddev) {
  std::vector<float> row(static_cast<std::size_t>(width_of(rows)));
  std::int64_t at = 0;
  for (const TokenRun& run : home)
    for (std::int64_t i = 0; i < run.count; ++i) {
      fill_normal(key_of(seed, operand, run.first + i * run.stride), stddev, row);
      for (const float value : row)
        if (rows.dtype == DType::kBF16)
          rows.get<bf16>()[at++] = bf16(value);
        else
          rows.get<float>()[at++] = value;
    }
}

}  // namespace

std::int64_t width_of(const Tensor& rows) {
  return rows.shape[1] * (rows.dims > 2 ? rows.shape[2] : 1);
}

double query_stddev(const AttentionDesc& desc) {
  return 1 / (static_cast<double>(desc.scale) * std::sqrt(static_cast<double>(desc.head_dim)));
}

ParityRows::ParityRows(const ParityCase& c, std::shared_ptr<const ContextPlan> plan, Communicator& comm,
                       const RankDevice& device)
    : case_(c),
      plan_(std::move(plan)),
      comm_(comm),
      device_(device),
      tokens_(plan_->tokens_of(comm.rank())),
      arena_("parity probe", arena_bytes(), device.runtime()) {}

// More than the rows take.
std::int64_t ParityRows::arena_bytes() const {
  const AttentionDesc& d = case_.desc;
  return 4 * (tokens_ * (d.heads + 2 * d.kv_heads) * 2 * (d.head_dim + d.value_dim + 1) + 2 * d.heads) + (1 << 16);
}

Tensor ParityRows::make(std::string_view name, std::int64_t heads, std::int64_t size) {
  return arena_.allocate(name, MemoryCategory::kActivations, case_.desc.dtype, {tokens_, heads, size});
}

void ParityRows::allocate() {
  const AttentionDesc& d = case_.desc;
  rows_.q = make("q", d.heads, d.head_dim);
  rows_.k = make("k", d.kv_heads, d.head_dim);
  rows_.v = make("v", d.kv_heads, d.value_dim);
  rows_.dout = make("dout", d.heads, d.value_dim);
  rows_.out = make("out", d.heads, d.value_dim);
  rows_.lse = arena_.allocate("lse", MemoryCategory::kActivations, DType::kF32, {tokens_, d.heads});
  rows_.dq = make("dq", d.heads, d.head_dim);
  rows_.dk = make("dk", d.kv_heads, d.head_dim);
  rows_.dv = make("dv", d.kv_heads, d.value_dim);
  if (!case_.kind.sink) return;
  rows_.sink = arena_.allocate("sink", MemoryCategory::kActivations, DType::kF32, {d.heads});
  rows_.dsink = arena_.allocate_zeroed("dsink", MemoryCategory::kActivations, DType::kF32, {d.heads});
}

void ParityRows::fill(const Exec& exec) {
  const std::vector<TokenRun>& home = plan_->home[static_cast<std::size_t>(comm_.rank())];
  const auto fill = [&](const Tensor& rows, Operand operand, double stddev) {
    fill_on_host(exec, rows, [&](const Tensor& host) { fill_rows(host, home, case_.seed, operand, stddev); });
  };
  fill(rows_.q, Operand::kQuery, query_stddev(case_.desc));
  fill(rows_.k, Operand::kKey, 1);
  fill(rows_.v, Operand::kValue, 1);
  fill(rows_.dout, Operand::kOutputGradient, 1);
  if (rows_.sink)
    fill_on_host(exec, rows_.sink, [&](const Tensor& sink) {
      fill_normal(key_of(case_.seed, Operand::kSink, 0), 1,
                  std::span(sink.get<float>(), static_cast<std::size_t>(case_.desc.heads)));
    });
}

void ParityRows::bring_home(const Exec& exec) {
  for (Tensor* rows : {&rows_.q, &rows_.k, &rows_.v, &rows_.dout, &rows_.sink, &rows_.out, &rows_.lse, &rows_.dq,
                       &rows_.dk, &rows_.dv, &rows_.dsink})
    *rows = copies_.emplace_back(exec, *rows).tensor();
}

const AttentionRows& ParityRows::run() {
  allocate();
  fill(device_.exec(case_.num_threads, nullptr));
  ContextAttention attention(plan_, comm_, case_.desc, {.device = device_.device()});
  Arena scratch("parity probe's scratch",
                std::max(attention.forward_workspace_bytes(), attention.backward_workspace_bytes()), device_.runtime());
  const Exec exec = device_.exec(case_.num_threads, &scratch);
  attention.forward(exec, {rows_.q, rows_.k, rows_.v, rows_.sink, rows_.out, rows_.lse});
  attention.backward(exec, {rows_.q, rows_.k, rows_.v, rows_.sink, rows_.out, rows_.lse, rows_.dout, rows_.dq, rows_.dk,
                            rows_.dv, rows_.dsink});
  if (rows_.dsink) comm_.all_reduce(rows_.dsink, ReduceOp::kSum);
  bring_home(exec);
  return rows_;
}

}  // namespace longspan
