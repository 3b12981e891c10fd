#include "parallel/context/buffers.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "parallel/context/payload.h"
#include "parallel/context/proof.h"

namespace longspan {
namespace {

bool meet(const TokenRange& a, const TokenRange& b) {
  return a.owner == b.owner && a.begin < b.end && b.begin < a.end;
}
bool meet(const PlanTransfer& a, const PlanTransfer& b) {
  return a.kind == b.kind && meet(a.range, b.range) && a.head_begin < b.head_end && b.head_begin < a.head_end;
}

// What one transfer asks for, before what lives equally long is laid together.
struct Need {
  std::int32_t transfer = 0;
  BufferUse use = BufferUse::kOperand;
  int first_step = 0, last_step = 0;
};

// The transfers to and from one rank, and its tasks, in the order of the direction.
struct RankPart {
  std::vector<std::int32_t> transfers;
  std::vector<const PlanTask*> tasks;
};

std::vector<RankPart> split_by_rank(const PlanDirection& direction, int ranks) {
  std::vector<RankPart> parts(static_cast<std::size_t>(ranks));
  for (std::size_t i = 0; i < direction.transfers.size(); ++i)
    for (const int rank : {direction.transfers[i].from, direction.transfers[i].to})
      parts[static_cast<std::size_t>(rank)].transfers.push_back(static_cast<std::int32_t>(i));
  for (const PlanTask& task : direction.tasks) parts[static_cast<std::size_t>(task.rank)].tasks.push_back(&task);
  return parts;
}

RankPart part_of_rank(const PlanDirection& direction, int rank) {
  RankPart part;
  for (std::size_t i = 0; i < direction.transfers.size(); ++i)
    if (direction.transfers[i].from == rank || direction.transfers[i].to == rank)
      part.transfers.push_back(static_cast<std::int32_t>(i));
  for (const PlanTask& task : direction.tasks)
    if (task.rank == rank) part.tasks.push_back(&task);
  return part;
}

// One rank's part of a direction, with what its buffers' lives depend on.
class Lives {
 public:
  Lives(const PlanDirection& direction, int rank, RankPart part)
      : direction_(direction), rank_(rank), transfers_(std::move(part.transfers)) {
    for (const std::int32_t i : transfers_) {
      const PlanTransfer& t = direction.transfers[i];
      by_owner_[{t.kind, t.range.owner}].push_back(&t);
    }
    for (const PlanTask* task : part.tasks) {
      if (task->kv.owner != rank) tasks_by_key_[task->kv.owner].push_back(task);
      if (task->q.owner != rank) tasks_by_query_[task->q.owner].push_back(task);
    }
  }

  std::vector<Need> needs() const {
    std::vector<Need> needs;
    for (const std::int32_t i : transfers_) {
      const PlanTransfer& t = direction_.transfers[i];
      if (is_operand(t.kind)) {
        if (t.to == rank_)
          needs.push_back({i, BufferUse::kOperand, t.step, last_use(t)});
        else if (t.range.owner == rank_)
          needs.push_back({i, BufferUse::kPacked, t.step, t.step});
      } else if (t.from == rank_) {
        needs.push_back({i, BufferUse::kShare, first_share(t), t.step + 1});
      } else {
        needs.push_back({i, BufferUse::kArriving, t.step + 1, t.step + 1});
      }
    }
    return needs;
  }

 private:
  // The last step in which operands that arrive by t are read or sent on.
  int last_use(const PlanTransfer& t) const {
    int last = t.step + 1;
    for_tasks_on(t, [&](const PlanTask& task) { last = std::max(last, task.step); });
    for (const PlanTransfer* other : by_owner_.at({t.kind, t.range.owner}))
      if (other->from == rank_ && meet(*other, t)) last = std::max(last, other->step);
    return last;
  }

  // The first step in which something is added to the results that leave by t, after those that left before.
  int first_share(const PlanTransfer& t) const {
    int left_before = -1;
    for (const PlanTransfer* other : by_owner_.at({t.kind, t.range.owner}))
      if (other->from == rank_ && other->step < t.step && meet(*other, t))
        left_before = std::max(left_before, other->step);
    int first = t.step;
    for_tasks_on(t, [&](const PlanTask& task) {
      if (task.step > left_before) first = std::min(first, task.step);
    });
    for (const PlanTransfer* other : by_owner_.at({t.kind, t.range.owner}))
      if (other->to == rank_ && other->step + 1 > left_before && meet(*other, t))
        first = std::min(first, other->step + 1);
    return first;
  }

  // Tasks of this rank over tokens of the transfer; heads are left out of account, which can only prolong a life.
  template <class F>
  void for_tasks_on(const PlanTransfer& t, F visit) const {
    const bool keys = has_kv_heads(t.kind);
    const auto& by_owner = keys ? tasks_by_key_ : tasks_by_query_;
    const auto tasks = by_owner.find(t.range.owner);
    if (tasks == by_owner.end()) return;
    for (const PlanTask* task : tasks->second)
      if (meet(keys ? task->kv : task->q, t.range)) visit(*task);
  }

  const PlanDirection& direction_;
  const int rank_;
  std::vector<std::int32_t> transfers_;  // to or from this rank
  std::map<std::pair<TransferKind, int>, std::vector<const PlanTransfer*>> by_owner_;
  std::map<int, std::vector<const PlanTask*>> tasks_by_key_, tasks_by_query_;  // on other ranks' tokens, by owner
};

}  // namespace

std::int64_t TransferBuffer::num_bytes(const WireDesc& desc) const {
  const std::int64_t heads = head_end - head_begin;
  const bool as_computed = use != BufferUse::kPacked || desc.format_of(kind) == HopFormat::kPlain;
  const bool as_sent = desc.format_of(kind) != HopFormat::kPlain;
  return (as_computed ? payload_bytes(planes_of(kind, desc.attention), tokens(), heads) : 0) +
         (as_sent ? payload_bytes(wire_planes_of(kind, desc), tokens(), heads) : 0);
}

const RankBuffers::Seat& RankBuffers::seat_of(std::int32_t transfer) const {
  return *std::lower_bound(seats.begin(), seats.end(), transfer,
                           [](const Seat& seat, std::int32_t t) { return seat.transfer < t; });
}

namespace {

RankBuffers lay_out(const PlanDirection& direction, std::vector<Need> needs) {
  const auto life = [&](const Need& need) {
    const PlanTransfer& t = direction.transfers[need.transfer];
    return std::tuple(need.use, t.kind, need.first_step, need.last_step, t.head_begin, t.head_end);
  };
  const auto range = [&](const Need& need) -> const TokenRange& { return direction.transfers[need.transfer].range; };
  std::stable_sort(needs.begin(), needs.end(), [&](const Need& a, const Need& b) {
    if (life(a) != life(b)) return life(a) < life(b);
    return std::tuple(range(a).owner, range(a).begin) < std::tuple(range(b).owner, range(b).begin);
  });
  RankBuffers result;
  for (std::size_t i = 0; i < needs.size(); ++i) {
    const Need& need = needs[i];
    const PlanTransfer& t = direction.transfers[need.transfer];
    if (i == 0 || life(needs[i - 1]) != life(need))
      result.buffers.push_back({need.use, t.kind, t.head_begin, t.head_end, need.first_step, need.last_step, {}, 0});
    TransferBuffer& buffer = result.buffers.back();
    // What is packed once is sent to as many ranks as want it; arrivals have memory of their own each.
    TokenRange* last = buffer.parts.empty() ? nullptr : &buffer.parts.back().range;
    if (need.use == BufferUse::kPacked && last != nullptr && t.range.begin <= last->end)
      last->end = std::max(last->end, t.range.end);
    else
      buffer.parts.push_back({t.range, buffer.tokens()});
    result.seats.push_back({need.transfer, static_cast<std::int32_t>(result.buffers.size() - 1),
                            static_cast<std::int32_t>(buffer.parts.size() - 1)});
  }
  std::sort(result.seats.begin(), result.seats.end(),
            [](const RankBuffers::Seat& a, const RankBuffers::Seat& b) { return a.transfer < b.transfer; });
  return result;
}

}  // namespace

RankBuffers buffers_of(const PlanDirection& direction, int rank) {
  return lay_out(direction, Lives(direction, rank, part_of_rank(direction, rank)).needs());
}

Slots assign_slots(BufferPool pool, const WireDesc& desc, std::vector<TransferBuffer>& buffers) {
  std::vector<TransferBuffer*> members;
  for (TransferBuffer& buffer : buffers)
    if (holds_results(buffer.use) == (pool == BufferPool::kResults)) members.push_back(&buffer);
  std::stable_sort(members.begin(), members.end(),
                   [](const TransferBuffer* a, const TransferBuffer* b) { return a->first_step < b->first_step; });
  Slots slots;
  std::vector<int> free_from;  // first step in which a slot is free
  for (TransferBuffer* buffer : members) {
    const std::int64_t need = buffer->num_bytes(desc);
    // The smallest free slot that is large enough; otherwise the largest, which then grows.
    std::size_t best = slots.size();
    const auto better = [&](std::size_t slot) {
      if (best == slots.size()) return true;
      const bool fits = slots[slot] >= need, best_fits = slots[best] >= need;
      if (fits != best_fits) return fits;
      return fits ? slots[slot] < slots[best] : slots[slot] > slots[best];
    };
    for (std::size_t slot = 0; slot < slots.size(); ++slot)
      if (free_from[slot] <= buffer->first_step && better(slot)) best = slot;
    if (best == slots.size()) {
      slots.push_back(0);
      free_from.push_back(0);
    }
    buffer->slot = static_cast<int>(best);
    slots[best] = std::max(slots[best], need);
    free_from[best] = buffer->last_step + 1;
  }
  return slots;
}

namespace {

PeakBuffers peak_of(const std::vector<TransferBuffer>& buffers, const WireDesc& desc) {
  // Changes of what is held, by step.
  std::vector<std::pair<int, PeakBuffers>> changes;
  for (const TransferBuffer& buffer : buffers) {
    if (buffer.use == BufferUse::kPacked) continue;
    const std::int64_t size = buffer.num_bytes(desc);
    const bool results = holds_results(buffer.use);
    changes.push_back({buffer.first_step, {results ? 0 : size, results ? size : 0}});
    changes.push_back({buffer.last_step + 1, {results ? 0 : -size, results ? -size : 0}});
  }
  std::stable_sort(changes.begin(), changes.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  PeakBuffers now, peak;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    now.operand_bytes += changes[i].second.operand_bytes;
    now.result_bytes += changes[i].second.result_bytes;
    if (i + 1 < changes.size() && changes[i + 1].first == changes[i].first) continue;
    peak.operand_bytes = std::max(peak.operand_bytes, now.operand_bytes);
    peak.result_bytes = std::max(peak.result_bytes, now.result_bytes);
  }
  return peak;
}

}  // namespace

std::vector<PeakBuffers> peak_buffers(const PlanDirection& direction, int ranks, const WireDesc& desc) {
  std::vector<PeakBuffers> peaks;
  std::vector<RankPart> parts = split_by_rank(direction, ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    RankPart& part = parts[static_cast<std::size_t>(rank)];
    peaks.push_back(peak_of(lay_out(direction, Lives(direction, rank, std::move(part)).needs()).buffers, desc));
  }
  return peaks;
}

}  // namespace longspan
