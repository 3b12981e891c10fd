#include <algorithm>
#include <numeric>

#include "parallel/context/proof.h"

namespace longspan {
namespace {

// Coverage is proved for the tasks of each (owner of queries, owner of keys) from three facts that take no look at
// single tokens: each task lies inside what is visible; no two tasks overlap; and they hold as many pairs as are
// visible. Inside, disjoint and as many means: each exactly once.
class Coverage {
 public:
  explicit Coverage(const DirectionProof& proof)
      : proof_(proof), visible_(visible_distances(proof.plan.problem)), tasks_(proof.direction.tasks) {}

  std::optional<std::string> find_fault() {
    for (const PlanTask& task : tasks_)
      if (auto fault = find_invisible(task)) return fault;
    const std::vector<const PlanTask*> sorted = by_owners();
    auto task = sorted.begin();
    for (int q_owner = 0; q_owner < proof_.plan.ranks; ++q_owner)
      for (int kv_owner = 0; kv_owner < proof_.plan.ranks; ++kv_owner) {
        group_.clear();
        for (; task != sorted.end() && (*task)->q.owner == q_owner && (*task)->kv.owner == kv_owner; ++task)
          group_.push_back(*task);
        std::stable_sort(group_.begin(), group_.end(),
                         [](const PlanTask* a, const PlanTask* b) { return a->q.begin < b->q.begin; });
        if (auto fault = find_double()) return fault;
        if (auto fault = find_missing(q_owner, kv_owner)) return fault;
      }
    return std::nullopt;
  }

 private:
  // All tasks by owner of the queries, then of the keys: counted into place, as there may be millions.
  std::vector<const PlanTask*> by_owners() const {
    const auto ranks = static_cast<std::size_t>(proof_.plan.ranks);
    const auto key = [&](const PlanTask& task) { return task.q.owner * ranks + task.kv.owner; };
    std::vector<std::size_t> place(ranks * ranks + 1);
    for (const PlanTask& task : tasks_) ++place[key(task) + 1];
    std::partial_sum(place.begin(), place.end(), place.begin());
    std::vector<const PlanTask*> sorted(tasks_.size());
    for (const PlanTask& task : tasks_) sorted[place[key(task)]++] = &task;
    return sorted;
  }

  // The segment of a shard in which a place stands.
  static std::vector<TokenSegment>::const_iterator segment_at(const Shard& shard, std::int64_t place) {
    return std::upper_bound(shard.by_place.begin(), shard.by_place.end(), place,
                            [](std::int64_t p, const TokenSegment& segment) { return p < segment.begin; }) -
           1;
  }

  // The part of a task's rectangle with these queries and keys, its band counted from there.
  static VisibleBlock part(const PlanTask& task, std::int64_t q_begin, std::int64_t q_end, std::int64_t kv_begin,
                           std::int64_t kv_end) {
    const Band whole = shortest(task.band, task.q.count(), task.kv.count());
    const std::int64_t shift = (q_begin - task.q.begin) - (kv_begin - task.kv.begin);
    return {q_begin, q_end, kv_begin, kv_end,
            shortest({whole.lo + shift, whole.hi + shift}, q_end - q_begin, kv_end - kv_begin)};
  }

  std::optional<std::string> find_invisible(const PlanTask& task) {
    const Shard& queries = proof_.shards[task.q.owner];
    const Shard& keys = proof_.shards[task.kv.owner];
    const Band band = shortest(task.band, task.q.count(), task.kv.count());
    for (auto q = segment_at(queries, task.q.begin); q != queries.by_place.end() && q->begin < task.q.end; ++q) {
      const std::int64_t q_begin = std::max(q->begin, task.q.begin), q_end = std::min(q->end(), task.q.end);
      // Only keys that the band reaches from these queries.
      const std::int64_t kv_begin = task.kv.begin + std::max<std::int64_t>(0, q_begin - task.q.begin + band.lo);
      const std::int64_t kv_end = task.kv.begin + std::min(task.kv.count(), q_end - task.q.begin + band.hi);
      if (kv_begin >= kv_end) continue;
      for (auto k = segment_at(keys, kv_begin); k != keys.by_place.end() && k->begin < kv_end; ++k) {
        const VisibleBlock block = part(task, q_begin, q_end, std::max(k->begin, kv_begin), std::min(k->end(), kv_end));
        if (count_pairs(block) != count_visible(block, *q, *k)) return invisible_pair(task, block, *q, *k);
      }
    }
    return std::nullopt;
  }

  // Pairs of a block inside two segments that are visible.
  std::int64_t count_visible(const VisibleBlock& block, const TokenSegment& q, const TokenSegment& k) {
    blocks_.clear();
    append_visible(visible_, part_of(q, block.q_begin, block.q_end), part_of(k, block.kv_begin, block.kv_end), blocks_);
    std::int64_t pairs = 0;
    for (const VisibleBlock& seen : blocks_) pairs += count_common(seen, block);
    return pairs;
  }

  // Pairs of one head in two blocks at once.
  static std::int64_t count_common(const VisibleBlock& a, const VisibleBlock& b) {
    VisibleBlock common{std::max(a.q_begin, b.q_begin),
                        std::min(a.q_end, b.q_end),
                        std::max(a.kv_begin, b.kv_begin),
                        std::min(a.kv_end, b.kv_end),
                        {}};
    if (common.q_begin >= common.q_end || common.kv_begin >= common.kv_end) return 0;
    const auto shift = [&](const VisibleBlock& block) {
      return (common.q_begin - block.q_begin) - (common.kv_begin - block.kv_begin);
    };
    common.band = {std::max(a.band.lo + shift(a), b.band.lo + shift(b)),
                   std::min(a.band.hi + shift(a), b.band.hi + shift(b))};
    return common.band.lo > common.band.hi ? 0 : count_pairs(common);
  }

  std::string invisible_pair(const PlanTask& task, const VisibleBlock& block, const TokenSegment& q,
                             const TokenSegment& k) const {
    for (std::int64_t i = block.q_begin; i < block.q_end; ++i)
      for (std::int64_t j = block.kv_begin; j < block.kv_end; ++j) {
        const std::int64_t difference = (j - block.kv_begin) - (i - block.q_begin);
        if (difference < block.band.lo || difference > block.band.hi) continue;
        const std::int64_t query = part_of(q, i, i + 1).run.first, key = part_of(k, j, j + 1).run.first;
        if (q.document != k.document)
          return fmt::format("{}: query token {} of document {} would see key token {} of document {}",
                             describe(proof_, task), query, q.document, key, k.document);
        if (!visible_.contains(query - key))
          return fmt::format("{}: query token {} must not see key token {}", describe(proof_, task), query, key);
      }
    return fmt::format("{}: it computes pairs that are not visible", describe(proof_, task));
  }

  // Two tasks of the group, sorted by first query, that hold the same pair for the same head.
  std::optional<std::string> find_double() const {
    for (std::size_t i = 0; i < group_.size(); ++i) {
      const PlanTask& a = *group_[i];
      for (std::size_t j = i + 1; j < group_.size() && group_[j]->q.begin < a.q.end; ++j) {
        const PlanTask& b = *group_[j];
        const bool heads_meet = std::max(a.head_begin, b.head_begin) < std::min(a.head_end, b.head_end);
        if (heads_meet && count_common(whole(a), whole(b)) > 0)
          return fmt::format("{} computes pairs that task {} computes too", describe(proof_, b), &a - tasks_.data());
      }
    }
    return std::nullopt;
  }

  static VisibleBlock whole(const PlanTask& task) {
    return part(task, task.q.begin, task.q.end, task.kv.begin, task.kv.end);
  }

  std::optional<std::string> find_missing(int q_owner, int kv_owner) {
    blocks_.clear();
    append_visible(visible_, proof_.shards[q_owner], proof_.shards[kv_owner], blocks_);
    std::int64_t missing = 0;
    for (const VisibleBlock& block : blocks_) missing += count_pairs(block) * proof_.plan.problem.heads;
    for (const PlanTask* task : group_) missing -= count_pairs(whole(*task)) * (task->head_end - task->head_begin);
    if (missing == 0) return std::nullopt;
    return missing_row(q_owner, kv_owner, missing);
  }

  // Names the first query and head of blocks_ that misses keys.
  std::string missing_row(int q_owner, int kv_owner, std::int64_t missing) const {
    for (std::int64_t head = 0; head < proof_.plan.problem.heads; ++head)
      for (const VisibleBlock& block : blocks_)
        for (std::int64_t i = block.q_begin; i < block.q_end; ++i) {
          const VisibleBlock row{i, i + 1, 0, proof_.plan.tokens_of(kv_owner), {}};
          const std::int64_t wanted = count_common(row, block);
          VisibleBlock inside = row;
          inside.kv_begin = block.kv_begin, inside.kv_end = block.kv_end;
          std::int64_t computed = 0;
          for (const PlanTask* task : group_)
            if (task->head_begin <= head && head < task->head_end) computed += count_common(inside, whole(*task));
          if (computed == wanted) continue;
          const TokenSegment& q = *segment_at(proof_.shards[q_owner], i);
          return fmt::format(
              "{}: query token {} (rank {}, place {}), head {}, sees {} keys of rank {} but the tasks compute {} of "
              "them; {} pairs of these two ranks are missing",
              proof_.name, part_of(q, i, i + 1).run.first, q_owner, i, head, wanted, kv_owner, computed, missing);
        }
    return fmt::format("{}: {} pairs of queries of rank {} and keys of rank {} are computed by no task", proof_.name,
                       missing, q_owner, kv_owner);
  }

  const DirectionProof& proof_;
  const VisibleDistances visible_;
  const std::vector<PlanTask>& tasks_;
  std::vector<const PlanTask*> group_;  // tasks of one pair of owners, by first query
  std::vector<VisibleBlock> blocks_;
};

}  // namespace

std::optional<std::string> find_coverage_fault(const DirectionProof& proof) {
  // Backward mostly runs the very tasks of forward, which comes first.
  const bool proved = &proof.direction == &proof.plan.backward && proof.plan.backward.tasks == proof.plan.forward.tasks;
  return proved ? std::nullopt : Coverage(proof).find_fault();
}

}  // namespace longspan
