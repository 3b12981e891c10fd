#include "parallel/context/buffers.h"

#include <algorithm>

#include "parallel/context/validator.h"

namespace longspan {
namespace {

bool meet(const TokenRange& a, const TokenRange& b) {
  return a.owner == b.owner && a.begin < b.end && b.begin < a.end;
}

// One rank's part of a direction, with what its buffers' lives depend on.
class Lives {
 public:
  Lives(const PlanDirection& direction, int rank) : direction_(direction), rank_(rank) {
    for (std::size_t i = 0; i < direction.transfers.size(); ++i) {
      const PlanTransfer& t = direction.transfers[i];
      if (t.from == rank || t.to == rank) transfers_.push_back(static_cast<std::int32_t>(i));
    }
    for (const PlanTask& task : direction.tasks)
      if (task.rank == rank && task.kv.owner != rank) tasks_.push_back(&task);
    std::stable_sort(tasks_.begin(), tasks_.end(),
                     [](const PlanTask* a, const PlanTask* b) { return a->kv.owner < b->kv.owner; });
  }

  std::vector<TransferBuffer> buffers() const {
    std::vector<TransferBuffer> buffers;
    for (const std::int32_t i : transfers_) {
      const PlanTransfer& t = direction_.transfers[i];
      if (t.kind == TransferKind::kKeyValue && t.to == rank_)
        buffers.push_back({BufferUse::kKeyValue, i, t.step, last_use(t)});
      else if (t.kind == TransferKind::kKeyValue && t.range.owner == rank_)
        buffers.push_back({BufferUse::kPacked, i, t.step, t.step});
      else if (t.kind == TransferKind::kKeyValueGradient && t.from == rank_)
        buffers.push_back({BufferUse::kShare, i, first_share(t), t.step + 1});
      else if (t.kind == TransferKind::kKeyValueGradient)
        buffers.push_back({BufferUse::kArriving, i, t.step + 1, t.step + 1});
    }
    return buffers;
  }

 private:
  // The last step in which keys that arrive by t are read or sent on.
  int last_use(const PlanTransfer& t) const {
    int last = t.step + 1;
    for_tasks_on(t.range, [&](const PlanTask& task) { last = std::max(last, task.step); });
    for (const std::int32_t i : transfers_) {
      const PlanTransfer& other = direction_.transfers[i];
      if (other.kind == t.kind && other.from == rank_ && meet(other.range, t.range)) last = std::max(last, other.step);
    }
    return last;
  }

  // The first step in which something is added to the gradients that leave by t.
  int first_share(const PlanTransfer& t) const {
    int first = t.step;
    for_tasks_on(t.range, [&](const PlanTask& task) { first = std::min(first, task.step); });
    for (const std::int32_t i : transfers_) {
      const PlanTransfer& other = direction_.transfers[i];
      if (other.kind == t.kind && other.to == rank_ && meet(other.range, t.range))
        first = std::min(first, other.step + 1);
    }
    return first;
  }

  template <class F>
  void for_tasks_on(const TokenRange& range, F visit) const {
    auto task = std::lower_bound(tasks_.begin(), tasks_.end(), range.owner,
                                 [](const PlanTask* a, int owner) { return a->kv.owner < owner; });
    for (; task != tasks_.end() && (*task)->kv.owner == range.owner; ++task)
      if (meet((*task)->kv, range)) visit(**task);
  }

  const PlanDirection& direction_;
  const int rank_;
  std::vector<std::int32_t> transfers_;  // to or from this rank
  std::vector<const PlanTask*> tasks_;   // on other ranks' keys, by owner
};

}  // namespace

std::vector<TransferBuffer> buffers_of(const PlanDirection& direction, int rank) {
  return Lives(direction, rank).buffers();
}

Slots assign_slots(const PlanDirection& direction, BufferPool pool, std::vector<TransferBuffer>& buffers) {
  std::vector<TransferBuffer*> members;
  for (TransferBuffer& buffer : buffers)
    if (holds_gradients(buffer.use) == (pool == BufferPool::kGradients)) members.push_back(&buffer);
  std::stable_sort(members.begin(), members.end(),
                   [](const TransferBuffer* a, const TransferBuffer* b) { return a->first_step < b->first_step; });
  Slots slots;
  std::vector<int> free_from;  // first step in which a slot is free
  for (TransferBuffer* buffer : members) {
    std::size_t slot = 0;
    while (slot < slots.size() && free_from[slot] > buffer->first_step) ++slot;
    if (slot == slots.size()) {
      slots.push_back(0);
      free_from.push_back(0);
    }
    buffer->slot = static_cast<int>(slot);
    slots[slot] = std::max(slots[slot], direction.transfers[buffer->transfer].range.count());
    free_from[slot] = buffer->last_step + 1;
  }
  return slots;
}

PeakBuffers peak_buffers(const ContextPlan&, const PlanDirection& direction, int rank) {
  // Changes of what is held, by step.
  std::vector<std::pair<int, PeakBuffers>> changes;
  for (const TransferBuffer& buffer : buffers_of(direction, rank)) {
    if (buffer.use == BufferUse::kPacked) continue;
    const PlanTransfer& t = direction.transfers[buffer.transfer];
    const std::int64_t size = t.range.count() * (t.head_end - t.head_begin);
    const bool gradients = holds_gradients(buffer.use);
    changes.push_back({buffer.first_step, {gradients ? 0 : size, gradients ? size : 0}});
    changes.push_back({buffer.last_step + 1, {gradients ? 0 : -size, gradients ? -size : 0}});
  }
  std::stable_sort(changes.begin(), changes.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  PeakBuffers now, peak;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    now.kv_tokens += changes[i].second.kv_tokens;
    now.dkv_tokens += changes[i].second.dkv_tokens;
    if (i + 1 < changes.size() && changes[i + 1].first == changes[i].first) continue;
    peak.kv_tokens = std::max(peak.kv_tokens, now.kv_tokens);
    peak.dkv_tokens = std::max(peak.dkv_tokens, now.dkv_tokens);
  }
  return peak;
}

}  // namespace longspan
