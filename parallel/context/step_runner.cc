#include "parallel/context/step_runner.h"

#include <algorithm>
#include <chrono>

#include "kernels/ops/layer_ops.h"

namespace longspan {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// "q, kv of step 3".
std::string name_of_group(std::span<const RankProgram::Message> sends, std::span<const RankProgram::Message> receives,
                          int step) {
  std::vector<TransferKind> kinds;
  for (const auto messages : {sends, receives})
    for (const RankProgram::Message& message : messages) kinds.push_back(message.kind);
  std::sort(kinds.begin(), kinds.end());
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  std::string names;
  for (const TransferKind kind : kinds) names += fmt::format("{}{}", names.empty() ? "" : ", ", name_of(kind));
  return fmt::format("{} of step {}", names, step);
}

}  // namespace

StepRunner::StepRunner(const Exec& exec, Communicator& comm, const AttentionDesc& desc, const RankProgram& program,
                       const OwnPayloads& own)
    : exec_(exec), comm_(comm), desc_(desc), program_(program), own_(own) {
  const auto book = [&](const char* name, const Slots& slots) {
    std::vector<Tensor> memory;
    for (const std::int64_t num_bytes : slots)
      memory.push_back(
          exec.workspace->allocate(name, MemoryCategory::kTransfers, DType::kF32, {num_bytes / size_of(DType::kF32)}));
    return memory;
  };
  const std::vector<Tensor> operands = book("attention operands on the move", program.operand_slots);
  const std::vector<Tensor> results = book("attention results on the move", program.result_slots);
  for (const TransferBuffer& buffer : program.buffers) {
    const Tensor& slot = (holds_results(buffer.use) ? results : operands)[static_cast<std::size_t>(buffer.slot)];
    LS_CHECK(buffer.num_bytes(desc) <= slot.num_bytes(), "a buffer of {} bytes in a slot of {}", buffer.num_bytes(desc),
             slot.num_bytes());
    buffers_.emplace_back(slot.data, buffer.kind, desc, buffer.tokens(), buffer.head_end - buffer.head_begin);
  }
}

std::int64_t StepRunner::workspace_bytes(const RankProgram& program) {
  std::int64_t num_bytes = 0;
  for (const Slots* slots : {&program.operand_slots, &program.result_slots})
    for (const std::int64_t slot : *slots) num_bytes += booked_bytes(slot);
  return num_bytes;
}

Payload StepRunner::at(TransferKind kind, const RankProgram::Place& place) const {
  const Payload& whole = place.buffer == kOwnTokens ? own_[kind] : buffers_[static_cast<std::size_t>(place.buffer)];
  return whole.part(place.begin, place.end, place.head_begin, place.head_end);
}

StepRunner::Posted StepRunner::post(std::span<const RankProgram::Message> sends,
                                    std::span<const RankProgram::Message> receives, int step) {
  if (sends.empty() && receives.empty()) return {};
  std::vector<Send> outgoing;
  std::vector<Receive> incoming;
  for (const RankProgram::Message& message : sends)
    for (const Tensor& plane : at(message.kind, message.place).planes()) {
      outgoing.push_back({message.peer, plane.data, plane.num_bytes()});
      stats_.bytes_sent += plane.num_bytes();
    }
  for (const RankProgram::Message& message : receives)
    for (const Tensor& plane : at(message.kind, message.place).planes())
      incoming.push_back({message.peer, plane.data, plane.num_bytes()});
  return {comm_.start(outgoing, incoming, name_of_group(sends, receives, step))};
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

void StepRunner::clear(int buffer) const {
  const Payload& results = buffers_[static_cast<std::size_t>(buffer)];
  if (program_.buffers[static_cast<std::size_t>(buffer)].kind == TransferKind::kOutput)
    return clear_carry(exec_, results[0], results[1]);
  for (const Tensor& plane : results.planes()) fill_zero(exec_, plane);
}

void StepRunner::merge(const RankProgram::Copy& sum) const {
  const Payload from = at(sum.kind, sum.from), to = at(sum.kind, sum.to);
  if (sum.kind == TransferKind::kOutput) return merge_carry(exec_, to[0], to[1], from[0], from[1]);
  for (std::size_t i = 0; i < to.planes().size(); ++i) {
    const Tensor& plane = to.planes()[i];
    add(exec_, plane, from.planes()[i], plane);
  }
}

void StepRunner::run_tasks(const RankProgram::TaskGroup& group, const Compute& compute) {
  Call call;
  call.desc = desc_;
  call.desc.heads = group.query.head_end - group.query.head_begin;
  call.desc.kv_heads = group.key.head_end - group.key.head_begin;
  const bool backward = static_cast<bool>(own_[TransferKind::kQueryGradient]);
  call.query = at(TransferKind::kQuery, group.query);
  call.query_result = at(backward ? TransferKind::kQueryGradient : TransferKind::kOutput, group.query_result);
  call.key = at(TransferKind::kKeyValue, group.key);
  if (backward) {
    call.output_gradient = at(TransferKind::kOutputGradient, group.output_gradient);
    call.key_result = at(TransferKind::kKeyValueGradient, group.key_result);
  }
  for (const std::vector<AttentionTask>& chunk : group.chunks) {
    const auto start = std::chrono::steady_clock::now();
    call.tasks = chunk;
    compute(call);
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
      const Payload from = at(pack.kind, pack.from), to = at(pack.kind, pack.to);
      for (std::size_t i = 0; i < to.planes().size(); ++i) cast(exec_, from.planes()[i], to.planes()[i]);
    }
    operands_posted_ = post(step.operand_sends, step.operand_receives, number);
    for (const int buffer : step.clears) clear(buffer);
    for (const RankProgram::TaskGroup& group : step.groups) run_tasks(group, compute);
    wait(results_posted_);
    for (const RankProgram::Copy& sum : step.merges) merge(sum);
    results_posted_ = post(step.result_sends, step.result_receives, number);
  }
  return stats_;
}

}  // namespace longspan
