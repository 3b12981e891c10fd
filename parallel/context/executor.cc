#include "parallel/context/executor.h"

#include <limits>

#include "kernels/ops/layer_ops.h"
#include "kernels/ops/whole_attention.h"
#include "parallel/context/rank_program.h"
#include "parallel/context/step_runner.h"

namespace longspan {
namespace {

// Multiply-adds between two tests of the transfers under way: some milliseconds of one core, which keeps a transport
// busy that moves only while it is looked at.
constexpr std::int64_t kChunkOperations = std::int64_t{1} << 29;

constexpr std::int64_t kUncut = std::numeric_limits<std::int64_t>::max() / 2;

std::int64_t fp32_bytes(std::int64_t numel) {
  return booked_bytes(numel * size_of(DType::kF32));
}

// On the host attention ops take their scratch from the heap, so that what a call takes from the workspace is known
// from the plan. On a device the lists of a call's work lie in the workspace.
Exec for_attention(Exec exec) {
  if (exec.device == Device::kCpu) exec.workspace = nullptr;
  return exec;
}

// Room for those lists: an item for each tile of rows and heads on either side, and what of the other side it sees,
// for every task. Tiles have at least so many lanes, a lane being one row of one head.
std::int64_t work_list_bytes(const RankProgram& program) {
  constexpr std::int64_t kTileLanes = 64, kItemBytes = 64, kListBytes = 4096;
  const auto items = [](std::int64_t rows, std::int64_t heads) { return rows * heads / kTileLanes + 2 * heads; };
  std::int64_t most = 0;
  for (const RankProgram::Step& step : program.steps)
    for (const RankProgram::TaskGroup& group : step.groups)
      for (const std::vector<AttentionTask>& chunk : group.chunks) {
        std::int64_t num_bytes = kListBytes + static_cast<std::int64_t>(chunk.size() * sizeof(AttentionTask));
        for (const AttentionTask& task : chunk) {
          const std::int64_t heads = task.head_end - task.head_begin;
          num_bytes +=
              kItemBytes * (items(task.q_end - task.q_begin, heads) + items(task.kv_end - task.kv_begin, heads));
        }
        most = std::max(most, num_bytes);
      }
  return most;
}

}  // namespace

struct ContextAttention::Impl {
  std::shared_ptr<const ContextPlan> plan;
  Communicator& comm;
  const AttentionDesc desc;
  const ContextOptions options;
  const std::int64_t tokens;  // of this rank
  const RankProgram forward, backward;
  ContextStats stats, totals;
  std::unique_ptr<StreamClock> clock;  // from the first call on a device on

  Impl(std::shared_ptr<const ContextPlan> the_plan, Communicator& the_comm, const AttentionDesc& the_desc,
       const ContextOptions& the_options)
      : plan(std::move(the_plan)),
        comm(the_comm),
        desc(the_desc),
        options(the_options),
        tokens(plan->tokens_of(comm.rank())),
        forward(compile_rank_program(*plan, plan->forward, comm.rank(), {desc, options.formats}, max_chunk_pairs())),
        backward(compile_rank_program(*plan, plan->backward, comm.rank(), {desc, options.formats}, max_chunk_pairs())) {
  }

  std::int64_t max_chunk_pairs() const {
    return options.device == Device::kCpu ? kChunkOperations / (desc.head_dim + desc.value_dim) : kUncut;
  }

  // Whether one call of the operator holds all tasks of all rows, so that nothing need be carried: on a device one rank
  // runs its only step uncut.
  bool is_whole(const Exec& exec, const Tensor& sink) const {
    return exec.device != Device::kCpu && options.device != Device::kCpu && plan->ranks == 1 && !sink &&
           !whole_attention_ops().empty() && forward.steps.size() == 1 && forward.steps[0].groups.size() == 1 &&
           forward.steps[0].groups[0].chunks.size() == 1;
  }

  StreamClock* clock_for(const Exec& exec) {
    if (exec.device == Device::kCpu) return nullptr;
    if (!clock) clock = std::make_unique<StreamClock>(exec, options.trace);
    clock->begin_call(totals);
    return clock.get();
  }

  void read_clock() {
    if (clock) clock->finish(stats, totals);
  }

  std::int64_t list_bytes(const RankProgram& program) const {
    return options.device == Device::kCpu ? 0 : work_list_bytes(program);
  }

  void note(const ContextStats& call) {
    stats = call;
    totals.bytes_sent += call.bytes_sent;
    totals.pairs += call.pairs;
    totals.compute_seconds += call.compute_seconds;
    totals.compute_cpu_seconds += call.compute_cpu_seconds;
    totals.exposed_seconds += call.exposed_seconds;
  }

  void expect(const char* name, const Tensor& tensor, std::int64_t heads, std::int64_t size) const {
    LS_CHECK(tensor.dims == 3 && tensor.shape[0] == tokens && tensor.shape[1] == heads && tensor.shape[2] == size,
             "context attention of {} on rank {}: {} is {}, expected [{}, {}, {}]", desc.describe(), comm.rank(), name,
             tensor.describe(), tokens, heads, size);
  }
};

ContextAttention::ContextAttention(std::shared_ptr<const ContextPlan> plan, Communicator& comm,
                                   const AttentionDesc& desc, const ContextOptions& options) {
  LS_CHECK(plan->ranks == comm.size(), "a plan for {} ranks in a group of {}", plan->ranks, comm.size());
  LS_CHECK(plan->problem.heads == desc.heads && plan->problem.kv_heads == desc.kv_heads,
           "a plan for {}/{} heads, attention {}", plan->problem.heads, plan->problem.kv_heads, desc.describe());
  impl_ = std::make_unique<Impl>(std::move(plan), comm, desc, options);
}

ContextAttention::~ContextAttention() = default;

void ContextAttention::forward(const Exec& exec, const Forward& args) {
  const AttentionDesc& desc = impl_->desc;
  impl_->expect("q", args.q, desc.heads, desc.head_dim);
  impl_->expect("k", args.k, desc.kv_heads, desc.head_dim);
  impl_->expect("v", args.v, desc.kv_heads, desc.value_dim);
  impl_->expect("out", args.out, desc.heads, desc.value_dim);
  Arena::Scope scope(*exec.workspace);
  // Merged in fp32 over all steps and rounded once, so that the error does not grow with the number of ranks.
  const Tensor carry = exec.workspace->allocate("attention output carry", MemoryCategory::kWorkspace, DType::kF32,
                                                {impl_->tokens, desc.heads, desc.value_dim});
  clear_carry(exec, carry, args.lse);
  OwnPayloads own;
  own[TransferKind::kQuery] = {args.q};
  own[TransferKind::kKeyValue] = {args.k, args.v};
  own[TransferKind::kOutput] = {carry, args.lse};
  Tensor scratch;
  if (impl_->is_whole(exec, args.sink))
    scratch =
        exec.workspace->allocate("attention library", MemoryCategory::kWorkspace, DType::kI8, {kWholeAttentionScratch});
  bool is_done = false;
  StepRunner runner(exec, impl_->comm, desc, impl_->options, impl_->forward, own, impl_->clock_for(exec));
  impl_->note(runner.run([&](const StepRunner::Call& call) {
    if (scratch) {
      is_done =
          whole_attention_forward(exec, {call.desc, args.q, args.k, args.v, args.out, args.lse, call.tasks, scratch});
      if (is_done) return;
    }
    attention_forward(for_attention(exec), {call.desc, call.query[0], call.key[0], call.key[1], call.query_result[0],
                                            call.query_result[1], call.tasks});
  }));
  if (!is_done) finish_forward(exec, carry, args.lse, args.sink, args.out, args.lse);
}

void ContextAttention::backward(const Exec& exec, const Backward& args) {
  const AttentionDesc& desc = impl_->desc;
  impl_->expect("q", args.q, desc.heads, desc.head_dim);
  impl_->expect("k", args.k, desc.kv_heads, desc.head_dim);
  impl_->expect("v", args.v, desc.kv_heads, desc.value_dim);
  impl_->expect("out", args.out, desc.heads, desc.value_dim);
  impl_->expect("dout", args.dout, desc.heads, desc.value_dim);
  impl_->expect("dq", args.dq, desc.heads, desc.head_dim);
  impl_->expect("dk", args.dk, desc.kv_heads, desc.head_dim);
  impl_->expect("dv", args.dv, desc.kv_heads, desc.value_dim);
  Arena& workspace = *exec.workspace;
  Arena::Scope scope(workspace);
  const std::int64_t tokens = impl_->tokens;
  const Tensor delta =
      workspace.allocate("attention delta", MemoryCategory::kWorkspace, DType::kF32, {tokens, desc.heads});
  const Tensor dq = workspace.allocate("query gradients", MemoryCategory::kWorkspace, DType::kF32,
                                       {tokens, desc.heads, desc.head_dim});
  const Tensor dk = workspace.allocate("key gradients", MemoryCategory::kWorkspace, DType::kF32,
                                       {tokens, desc.kv_heads, desc.head_dim});
  const Tensor dv = workspace.allocate("value gradients", MemoryCategory::kWorkspace, DType::kF32,
                                       {tokens, desc.kv_heads, desc.value_dim});
  for (const Tensor& gradient : {dq, dk, dv}) fill_zero(exec, gradient);
  begin_backward(exec, args.out, args.dout, args.lse, args.sink, delta, args.dsink);
  OwnPayloads own;
  own[TransferKind::kQuery] = {args.q};
  own[TransferKind::kKeyValue] = {args.k, args.v};
  own[TransferKind::kOutputGradient] = {args.dout, args.lse, delta};
  own[TransferKind::kQueryGradient] = {dq};
  own[TransferKind::kKeyValueGradient] = {dk, dv};
  StepRunner runner(exec, impl_->comm, desc, impl_->options, impl_->backward, own, impl_->clock_for(exec));
  impl_->note(runner.run([&](const StepRunner::Call& call) {
    const Payload& dout = call.output_gradient;
    attention_backward(for_attention(exec),
                       {call.desc, call.query[0], call.key[0], call.key[1], dout[0], dout[1], dout[2],
                        call.query_result[0], call.key_result[0], call.key_result[1], call.tasks});
  }));
  cast(exec, dq, args.dq);
  cast(exec, dk, args.dk);
  cast(exec, dv, args.dv);
}

std::int64_t ContextAttention::forward_workspace_bytes() const {
  const AttentionDesc& desc = impl_->desc;
  const std::int64_t scratch = whole_attention_ops().empty() ? 0 : kWholeAttentionScratch;
  return fp32_bytes(impl_->tokens * desc.heads * desc.value_dim) + scratch + impl_->list_bytes(impl_->forward) +
         StepRunner::workspace_bytes(impl_->forward);
}

std::int64_t ContextAttention::backward_workspace_bytes() const {
  const AttentionDesc& desc = impl_->desc;
  const std::int64_t tokens = impl_->tokens;
  return fp32_bytes(tokens * desc.heads) + fp32_bytes(tokens * desc.heads * desc.head_dim) +
         fp32_bytes(tokens * desc.kv_heads * desc.head_dim) + fp32_bytes(tokens * desc.kv_heads * desc.value_dim) +
         impl_->list_bytes(impl_->backward) + StepRunner::workspace_bytes(impl_->backward);
}

const ContextPlan& ContextAttention::plan() const {
  return *impl_->plan;
}
const ContextStats& ContextAttention::stats() const {
  impl_->read_clock();
  return impl_->stats;
}
const ContextStats& ContextAttention::totals() const {
  impl_->read_clock();
  return impl_->totals;
}

}  // namespace longspan
