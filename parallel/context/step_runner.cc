#include "parallel/context/step_runner.h"

#include <chrono>

#include "kernels/ops/layer_ops.h"

namespace longspan {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

KeyValue KeyValueLayout::view(const Tensor& rows) const {
  const std::int64_t tokens = rows.size(0), keys = desc_.kv_heads * desc_.head_dim;
  KeyValue views{rows, rows};
  views.k.dims = views.v.dims = 3;
  views.k.shape = {tokens, desc_.kv_heads, desc_.head_dim};
  views.k.stride = {width(), desc_.head_dim, 1};
  views.v.data = static_cast<std::byte*>(rows.data) + keys * size_of(rows.dtype);
  views.v.shape = {tokens, desc_.kv_heads, desc_.value_dim};
  views.v.stride = {width(), desc_.value_dim, 1};
  return views;
}

StepRunner::StepRunner(const Exec& exec, Communicator& comm, const AttentionDesc& desc, const RankProgram& program,
                       const Operands& operands)
    : exec_(exec), comm_(comm), layout_(desc), program_(program), operands_(operands) {
  const auto book = [&](Pool pool, const char* name, DType dtype, const Slots& slots) {
    for (const std::int64_t tokens : slots)
      slots_[static_cast<int>(pool)].push_back(
          exec.workspace->allocate(name, MemoryCategory::kTransfers, dtype, {tokens, layout_.width()}));
  };
  book(Pool::kOperands, "keys and values on the move", desc.dtype, program.operand_slots);
  book(Pool::kGradients, "their gradients on the move", DType::kF32, program.gradient_slots);
}

std::int64_t StepRunner::workspace_bytes(const AttentionDesc& desc, const RankProgram& program) {
  const std::int64_t width = KeyValueLayout(desc).width();
  std::int64_t num_bytes = 0;
  for (const std::int64_t tokens : program.operand_slots)
    num_bytes += booked_bytes(tokens * width * size_of(desc.dtype));
  for (const std::int64_t tokens : program.gradient_slots)
    num_bytes += booked_bytes(tokens * width * size_of(DType::kF32));
  return num_bytes;
}

Tensor StepRunner::rows_of(Pool pool, const RankProgram::Place& place) const {
  const Tensor& rows = place.slot == kOwnTokens ? operands_.own_gradients : slots_[static_cast<int>(pool)][place.slot];
  return rows.narrow(0, place.begin, place.end);
}

KeyValue StepRunner::keys_at(const RankProgram::Place& place) const {
  if (place.slot != kOwnTokens) return layout_.view(rows_of(Pool::kOperands, place));
  return {operands_.own.k.narrow(0, place.begin, place.end), operands_.own.v.narrow(0, place.begin, place.end)};
}

StepRunner::Posted StepRunner::post(Pool pool, std::span<const RankProgram::Message> sends,
                                    std::span<const RankProgram::Message> receives, int step) {
  if (sends.empty() && receives.empty()) return {};
  std::vector<Send> outgoing;
  std::vector<Receive> incoming;
  for (const RankProgram::Message& message : sends) {
    const Tensor rows = rows_of(pool, message.place);
    outgoing.push_back({message.peer, rows.data, rows.num_bytes()});
    stats_.bytes_sent += rows.num_bytes();
  }
  for (const RankProgram::Message& message : receives) {
    const Tensor rows = rows_of(pool, message.place);
    incoming.push_back({message.peer, rows.data, rows.num_bytes()});
  }
  const std::string what = fmt::format("{} of step {}", pool == Pool::kOperands ? "kv" : "dkv", step);
  return {comm_.start(outgoing, incoming, what)};
}

void StepRunner::wait(Posted& posted) {
  if (!posted.transfers) return;
  const auto start = std::chrono::steady_clock::now();
  posted.transfers->wait();
  posted.transfers.reset();
  stats_.exposed_seconds += seconds_since(start);
}

void StepRunner::test(Posted& posted) {
  if (posted.transfers && posted.transfers->test()) posted.transfers.reset();
}

void StepRunner::run_tasks(const RankProgram::TaskGroup& group, const Compute& compute) {
  const KeyValue keys = keys_at(group.keys);
  const KeyValue gradients =
      operands_.own_gradients ? layout_.view(rows_of(Pool::kGradients, group.gradients)) : KeyValue{};
  for (const std::vector<AttentionTask>& chunk : group.chunks) {
    const auto start = std::chrono::steady_clock::now();
    compute(chunk, keys, gradients);
    stats_.compute_seconds += seconds_since(start);
    for (const AttentionTask& task : chunk) stats_.pairs += count_pairs(task);
    test(operands_posted_);
    test(results_posted_);
  }
}

ContextStats StepRunner::run(const Compute& compute) {
  for (std::size_t s = 0; s < program_.steps.size(); ++s) {
    const RankProgram::Step& step = program_.steps[s];
    const int number = static_cast<int>(s);
    wait(operands_posted_);
    for (const RankProgram::Copy& pack : step.packs) {
      const KeyValue from = keys_at(pack.from), to = keys_at(pack.to);
      cast(exec_, from.k, to.k);
      cast(exec_, from.v, to.v);
    }
    operands_posted_ = post(Pool::kOperands, step.operand_sends, step.operand_receives, number);
    for (const RankProgram::Place& place : step.clears) fill_zero(exec_, rows_of(Pool::kGradients, place));
    for (const RankProgram::TaskGroup& group : step.groups) run_tasks(group, compute);
    wait(results_posted_);
    for (const RankProgram::Copy& sum : step.adds) {
      const Tensor to = rows_of(Pool::kGradients, sum.to);
      add(exec_, to, rows_of(Pool::kGradients, sum.from), to);
    }
    results_posted_ = post(Pool::kGradients, step.result_sends, step.result_receives, number);
  }
  return stats_;
}

}  // namespace longspan
