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

ParityRows::ParityRows(const ParityCase& c, std::shared_ptr<const ContextPlan> plan, Communicator& comm)
    : case_(c),
      plan_(std::move(plan)),
      comm_(comm),
      tokens_(plan_->tokens_of(comm.rank())),
      arena_("parity probe", arena_bytes()) {}

// Address space: more than the rows take.
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

void ParityRows::fill() {
  const std::vector<TokenRun>& home = plan_->home[static_cast<std::size_t>(comm_.rank())];
  fill_rows(rows_.q, home, case_.seed, Operand::kQuery, query_stddev(case_.desc));
  fill_rows(rows_.k, home, case_.seed, Operand::kKey, 1);
  fill_rows(rows_.v, home, case_.seed, Operand::kValue, 1);
  fill_rows(rows_.dout, home, case_.seed, Operand::kOutputGradient, 1);
  if (rows_.sink)
    fill_normal(key_of(case_.seed, Operand::kSink, 0), 1,
                std::span(rows_.sink.get<float>(), static_cast<std::size_t>(case_.desc.heads)));
}

const AttentionRows& ParityRows::run() {
  allocate();
  fill();
  ContextAttention attention(plan_, comm_, case_.desc);
  Arena scratch("parity probe's scratch",
                std::max(attention.forward_workspace_bytes(), attention.backward_workspace_bytes()));
  const Exec exec{Device::kCpu, case_.num_threads, &scratch};
  attention.forward(exec, {rows_.q, rows_.k, rows_.v, rows_.sink, rows_.out, rows_.lse});
  attention.backward(exec, {rows_.q, rows_.k, rows_.v, rows_.sink, rows_.out, rows_.lse, rows_.dout, rows_.dq, rows_.dk,
                            rows_.dv, rows_.dsink});
  if (rows_.dsink) comm_.all_reduce(rows_.dsink, ReduceOp::kSum);
  return rows_;
}

}  // namespace longspan
