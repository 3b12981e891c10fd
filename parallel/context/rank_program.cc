#include "parallel/context/rank_program.h"

#include <algorithm>

#include "parallel/context/task_chunks.h"

namespace longspan {
namespace {

using Place = RankProgram::Place;

class Compiler {
 public:
  Compiler(const ContextPlan& plan, const PlanDirection& direction, int rank)
      : plan_(plan), direction_(direction), rank_(rank), backward_(&direction == &plan.backward) {
    check_transfers();
    buffers_ = buffers_of(direction, rank);
    program_.operand_slots = assign_slots(direction, BufferPool::kOperands, buffers_);
    program_.gradient_slots = assign_slots(direction, BufferPool::kGradients, buffers_);
    program_.steps.resize(static_cast<std::size_t>(direction.num_steps()) + 1);
  }

  RankProgram compile(std::int64_t max_chunk_pairs) {
    for (const TransferBuffer& buffer : buffers_)
      if (buffer.use == BufferUse::kShare) program_.steps[buffer.first_step].clears.push_back(whole(buffer));
    for (std::size_t i = 0; i < direction_.transfers.size(); ++i) {
      const PlanTransfer& t = direction_.transfers[i];
      if (t.from != rank_ && t.to != rank_) continue;
      if (t.kind == TransferKind::kKeyValue)
        add_operand(static_cast<std::int32_t>(i), t);
      else
        add_result(static_cast<std::int32_t>(i), t);
    }
    for (const PlanTask& task : direction_.tasks)
      if (task.rank == rank_) add_task(task);
    for (std::size_t s = 0; s < program_.steps.size(); ++s)
      if (has_transfers_under_tasks(s))
        for (RankProgram::TaskGroup& group : program_.steps[s].groups)
          group.chunks = chunk_tasks(group.chunks.front(), max_chunk_pairs);
    return std::move(program_);
  }

 private:
  void check_transfers() const {
    for (const PlanTransfer& t : direction_.transfers) {
      const bool known = t.kind == TransferKind::kKeyValue || t.kind == TransferKind::kKeyValueGradient;
      LS_REQUIRE(kUnsupported, known, "context scheme {} moves {}: only kv and dkv are run; choose ring or striped",
                 plan_.scheme, name_of(t.kind));
      LS_REQUIRE(kUnsupported, t.head_begin == 0 && t.head_end == plan_.problem.kv_heads,
                 "context scheme {} moves {} of heads {} … {} alone: all {} are moved at once; choose ring or striped",
                 plan_.scheme, name_of(t.kind), t.head_begin, t.head_end - 1, plan_.problem.kv_heads);
    }
  }

  const TokenRange& range_of(const TransferBuffer& buffer) const { return direction_.transfers[buffer.transfer].range; }
  Place whole(const TransferBuffer& buffer) const { return {buffer.slot, 0, range_of(buffer).count()}; }

  // The buffer that holds a range in a step: the keys and values that have arrived, or the share that is gathered.
  const TransferBuffer& buffer_with(BufferUse use, const TokenRange& range, int step) const {
    for (const TransferBuffer& buffer : buffers_) {
      const TokenRange& held = range_of(buffer);
      const int ready = use == BufferUse::kKeyValue ? buffer.first_step + 1 : buffer.first_step;
      if (buffer.use == use && ready <= step && step <= buffer.last_step && held.owner == range.owner &&
          held.begin <= range.begin && range.end <= held.end)
        return buffer;
    }
    fail(ErrorKind::kUnsupported,
         "context scheme {}: tokens {} … {} of rank {} do not lie in one message on rank {} in step {}; choose ring or "
         "striped",
         plan_.scheme, range.begin, range.end - 1, range.owner, rank_, step);
  }

  // Where a range lies in a step: at home, or inside a buffer of this use.
  Place place_of(BufferUse use, const TokenRange& range, int step) const {
    if (range.owner == rank_) return {kOwnTokens, range.begin, range.end};
    return inside(buffer_with(use, range, step), range);
  }
  Place inside(const TransferBuffer& buffer, const TokenRange& range) const {
    const std::int64_t first = range_of(buffer).begin;
    return {buffer.slot, range.begin - first, range.end - first};
  }

  bool has_transfers_under_tasks(std::size_t s) const {
    const RankProgram::Step& step = program_.steps[s];
    if (!step.operand_sends.empty() || !step.operand_receives.empty()) return true;
    return s > 0 && (!program_.steps[s - 1].result_sends.empty() || !program_.steps[s - 1].result_receives.empty());
  }

  // The buffer that a transfer arrives in or leaves from.
  const TransferBuffer& buffer_of(std::int32_t transfer) const {
    return *std::lower_bound(buffers_.begin(), buffers_.end(), transfer,
                             [](const TransferBuffer& buffer, std::int32_t t) { return buffer.transfer < t; });
  }

  void add_operand(std::int32_t index, const PlanTransfer& t) {
    RankProgram::Step& step = program_.steps[t.step];
    if (t.to == rank_) {
      step.operand_receives.push_back({t.from, whole(buffer_of(index))});
    } else if (t.range.owner == rank_) {
      const Place packed = whole(buffer_of(index));
      step.packs.push_back({{kOwnTokens, t.range.begin, t.range.end}, packed});
      step.operand_sends.push_back({t.to, packed});
    } else {
      step.operand_sends.push_back({t.to, place_of(BufferUse::kKeyValue, t.range, t.step)});
    }
  }

  void add_result(std::int32_t index, const PlanTransfer& t) {
    const Place buffer = whole(buffer_of(index));
    if (t.from == rank_) {
      program_.steps[t.step].result_sends.push_back({t.to, buffer});
      return;
    }
    program_.steps[t.step].result_receives.push_back({t.from, buffer});
    program_.steps[t.step + 1].adds.push_back({buffer, place_of(BufferUse::kShare, t.range, t.step + 1)});
  }

  // Tasks of one step over the same block form one group.
  void add_task(const PlanTask& task) {
    RankProgram::TaskGroup fresh;
    TokenRange common{task.kv.owner, 0, plan_.tokens_of(task.kv.owner)};
    if (task.kv.owner == rank_) {
      fresh.keys = fresh.gradients = {kOwnTokens, common.begin, common.end};
    } else {
      const TransferBuffer& keys = buffer_with(BufferUse::kKeyValue, task.kv, task.step);
      common = range_of(keys);
      if (backward_) {
        const TransferBuffer& share = buffer_with(BufferUse::kShare, task.kv, task.step);
        common.begin = std::max(common.begin, range_of(share).begin);
        common.end = std::min(common.end, range_of(share).end);
        fresh.gradients = inside(share, common);
      }
      fresh.keys = inside(keys, common);
    }
    std::vector<RankProgram::TaskGroup>& groups = program_.steps[task.step].groups;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const RankProgram::TaskGroup& other) {
      return other.keys == fresh.keys && other.gradients == fresh.gradients;
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), std::move(fresh));
      group->chunks.emplace_back();
    }
    group->chunks.front().push_back({task.q.begin, task.q.end, task.kv.begin - common.begin, task.kv.end - common.begin,
                                     task.head_begin, task.head_end, task.band});
  }

  const ContextPlan& plan_;
  const PlanDirection& direction_;
  const int rank_;
  const bool backward_;
  std::vector<TransferBuffer> buffers_;  // in the order of their transfers
  RankProgram program_;
};

}  // namespace

RankProgram compile_rank_program(const ContextPlan& plan, const PlanDirection& direction, int rank,
                                 std::int64_t max_chunk_pairs) {
  return Compiler(plan, direction, rank).compile(max_chunk_pairs);
}

}  // namespace longspan
