#include "kernels/cuda/attention/attention_tiles.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

namespace longspan::cuda {
namespace {

constexpr std::int64_t kMaxRows = (std::int64_t{1} << 30) - 1;  // a row, a band and one more fit 32 bits

enum class Stays { kQueries, kKeys };

// A task with its sides named by what they do.
struct Side {
  std::int64_t begin = 0, end = 0;
};
struct SidedTask {
  Side stays, moves;
  std::int64_t head_begin = 0, head_end = 0;
  std::int64_t lo = 0, hi = 0;  // staying row r sees moving row j iff lo <= j - r <= hi, rows counted in their tensors
};

SidedTask sided(const AttentionTask& t, Stays stays) {
  SidedTask task{{t.q_begin, t.q_end}, {t.kv_begin, t.kv_end}, t.head_begin, t.head_end, t.band.lo, t.band.hi};
  if (stays == Stays::kKeys) {
    std::swap(task.stays, task.moves);
    task.lo = -t.band.hi;
    task.hi = -t.band.lo;
  }
  const std::int64_t shift = task.moves.begin - task.stays.begin;
  task.lo = std::clamp(task.lo + shift, -kMaxRows, kMaxRows);
  task.hi = std::clamp(task.hi + shift, -kMaxRows, kMaxRows);
  return task;
}

bool is_empty(const AttentionTask& t) {
  return t.q_begin >= t.q_end || t.kv_begin >= t.kv_end || t.head_begin >= t.head_end || t.band.lo > t.band.hi;
}

// The tile's rows are first … last - 1; whether all its heads are the task's is the caller's to see to.
TileSegment segment_of(const SidedTask& task, std::int64_t first, std::int64_t last) {
  const std::int64_t row_begin = std::max(first, task.stays.begin), row_end = std::min(last, task.stays.end);
  const auto narrow = [](std::int64_t row) { return static_cast<std::int32_t>(row); };
  TileSegment s;
  s.begin = narrow(std::max(task.moves.begin, row_begin + task.lo));
  s.end = narrow(std::min(task.moves.end, row_end + task.hi));
  if (row_begin == first && row_end == last) {
    s.whole_begin = narrow(std::max(task.moves.begin, row_end - 1 + task.lo));
    s.whole_end = narrow(std::min(task.moves.end, row_begin + task.hi + 1));
    if (s.whole_begin >= s.whole_end) s.whole_begin = s.whole_end = 0;
  }
  s.row_begin = narrow(row_begin);
  s.row_end = narrow(row_end);
  s.head_begin = narrow(task.head_begin);
  s.head_end = narrow(task.head_end);
  s.lo = narrow(task.lo);
  s.hi = narrow(task.hi);
  return s;
}

std::int64_t steps_of(const TileSegment& s, std::int64_t step_rows) {
  return (s.end - s.begin + step_rows - 1) / step_rows;
}

// Heads head … head + width - 1 stay together: the whole of a tile, or a group where keys stay.
class Builder {
 public:
  Builder(const AttentionDesc& desc, const TileShape& shape, Stays stays)
      : desc_(desc),
        shape_(shape),
        stays_(stays),
        width_(stays == Stays::kKeys ? desc.heads / desc.kv_heads : shape.heads_per_tile) {}

  AttentionTiles build(std::span<const AttentionTask> tasks, std::int64_t rows) {
    const std::int64_t tile = shape_.tile_rows(), num_tiles = (rows + tile - 1) / tile;
    sort_by_tile(tasks, num_tiles);
    for (std::int64_t n = 0; n < num_tiles; ++n) add_tile(n, n * tile, std::min(rows, (n + 1) * tile));
    put_longest_first();
    return std::move(tiles_);
  }

 private:
  // For each tile the tasks that touch its rows, in their order.
  void sort_by_tile(std::span<const AttentionTask> tasks, std::int64_t num_tiles) {
    const std::int64_t tile = shape_.tile_rows();
    for (const AttentionTask& t : tasks)
      if (!is_empty(t)) tasks_.push_back(sided(t, stays_));
    first_of_tile_.assign(static_cast<std::size_t>(num_tiles + 1), 0);
    const auto for_each_meeting = [&](auto visit) {
      for (std::size_t t = 0; t < tasks_.size(); ++t)
        for (std::int64_t n = tasks_[t].stays.begin / tile; n <= (tasks_[t].stays.end - 1) / tile; ++n) visit(n, t);
    };
    for_each_meeting([&](std::int64_t n, std::size_t) { ++first_of_tile_[n + 1]; });
    std::partial_sum(first_of_tile_.begin(), first_of_tile_.end(), first_of_tile_.begin());
    task_of_tile_.resize(first_of_tile_.back());
    std::vector<std::size_t> next(first_of_tile_.begin(), first_of_tile_.end() - 1);
    for_each_meeting([&](std::int64_t n, std::size_t t) { task_of_tile_[next[n]++] = t; });
  }

  void add_tile(std::int64_t n, std::int64_t first, std::int64_t last) {
    std::vector<TileSegment> seen;
    for (std::size_t at = first_of_tile_[n]; at < first_of_tile_[n + 1]; ++at) {
      const TileSegment s = segment_of(tasks_[task_of_tile_[at]], first, last);
      if (s.begin < s.end) seen.push_back(s);
    }
    // Neighbouring heads mostly see the same, and then share the list.
    std::vector<std::size_t> shared;
    for (std::int64_t head = 0; head < desc_.heads; head += width_) {
      std::vector<std::size_t> met;
      for (std::size_t s = 0; s < seen.size(); ++s)
        if (seen[s].head_begin < head + width_ && head < seen[s].head_end) met.push_back(s);
      if (met.empty()) continue;
      if (met != shared || !covers_alike(seen, met, head)) append_segments(seen, met, head);
      shared = std::move(met);
      add_item(first, head);
    }
  }

  // Whether the segments appended last, for an earlier head, hold for this one too: lists differ where a task has some
  // of the heads only.
  bool covers_alike(const std::vector<TileSegment>& seen, const std::vector<std::size_t>& met,
                    std::int64_t head) const {
    return std::all_of(met.begin(), met.end(), [&](std::size_t s) {
      return has_all_heads(seen[s], head) && has_all_heads(seen[s], head - width_);
    });
  }
  bool has_all_heads(const TileSegment& s, std::int64_t head) const {
    return s.head_begin <= head && head + width_ <= s.head_end;
  }

  void append_segments(const std::vector<TileSegment>& seen, const std::vector<std::size_t>& met, std::int64_t head) {
    segment_begin_ = tiles_.segments.size();
    for (const std::size_t s : met) {
      TileSegment segment = seen[s];
      // Where keys stay the kernel goes through a segment's heads one by one, and each is masked by rows alone.
      if (stays_ == Stays::kQueries && !has_all_heads(segment, head)) segment.whole_begin = segment.whole_end = 0;
      tiles_.segments.push_back(segment);
    }
  }

  void add_item(std::int64_t first, std::int64_t head) {
    const auto narrow = [](auto value) { return static_cast<std::int32_t>(value); };
    const std::int64_t named = stays_ == Stays::kKeys ? head / width_ : head;
    tiles_.items.push_back({narrow(first), narrow(named), narrow(segment_begin_), narrow(tiles_.segments.size())});
    std::int64_t cost = shape_.item_steps;
    for (std::size_t s = segment_begin_; s < tiles_.segments.size(); ++s) {
      const TileSegment& segment = tiles_.segments[s];
      const std::int64_t heads =
          std::min<std::int64_t>(segment.head_end, head + width_) - std::max<std::int64_t>(segment.head_begin, head);
      cost += steps_of(segment, shape_.step_rows) * (stays_ == Stays::kKeys ? heads : 1);
    }
    tiles_.costs.push_back(cost);
  }

  void put_longest_first() {
    std::vector<std::size_t> order(tiles_.items.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return tiles_.costs[a] > tiles_.costs[b]; });
    AttentionTiles sorted;
    for (const std::size_t at : order) {
      sorted.items.push_back(tiles_.items[at]);
      sorted.costs.push_back(tiles_.costs[at]);
    }
    tiles_.items = std::move(sorted.items);
    tiles_.costs = std::move(sorted.costs);
  }

  const AttentionDesc& desc_;
  const TileShape& shape_;
  Stays stays_;
  std::int64_t width_;
  std::vector<SidedTask> tasks_;
  std::vector<std::size_t> first_of_tile_, task_of_tile_;
  std::size_t segment_begin_ = 0;
  AttentionTiles tiles_;
};

void check(const AttentionDesc& desc, std::int64_t rows, const TileShape& shape) {
  LS_REQUIRE(kUnsupported, rows <= kMaxRows, "attention {}: {} rows in one call; at most {}: use more ranks",
             desc.describe(), rows, kMaxRows);
  LS_CHECK(shape.tile_lanes % shape.heads_per_tile == 0 && desc.heads / desc.kv_heads % shape.heads_per_tile == 0,
           "attention {}: {} heads in a tile of {} lanes", desc.describe(), shape.heads_per_tile, shape.tile_lanes);
}

}  // namespace

AttentionTiles query_tiles(const AttentionDesc& desc, std::span<const AttentionTask> tasks, std::int64_t rows,
                           const TileShape& shape) {
  check(desc, rows, shape);
  return Builder(desc, shape, Stays::kQueries).build(tasks, rows);
}

AttentionTiles key_tiles(const AttentionDesc& desc, std::span<const AttentionTask> tasks, std::int64_t rows,
                         const TileShape& shape) {
  check(desc, rows, shape);
  LS_CHECK(shape.heads_per_tile == 1, "attention {}: tiles of keys hold one head, not {}", desc.describe(),
           shape.heads_per_tile);
  return Builder(desc, shape, Stays::kKeys).build(tasks, rows);
}

std::int64_t heads_per_tile_for(const AttentionDesc& desc, std::span<const AttentionTask> tasks,
                                std::int64_t tile_lanes) {
  std::int64_t rows = 1;
  for (const AttentionTask& t : tasks) rows = std::max(rows, t.q_end - t.q_begin);
  std::int64_t heads = 1;
  while (desc.heads / desc.kv_heads % (2 * heads) == 0 && 2 * heads * rows <= tile_lanes) heads *= 2;
  return heads;
}

std::int64_t predicted_makespan(std::span<const std::int64_t> costs, std::int64_t workers) {
  std::priority_queue<std::int64_t, std::vector<std::int64_t>, std::greater<>> free_at;
  for (std::int64_t w = 0; w < workers; ++w) free_at.push(0);
  std::int64_t last = 0;
  for (const std::int64_t cost : costs) {
    const std::int64_t done = free_at.top() + cost;
    free_at.pop();
    free_at.push(done);
    last = std::max(last, done);
  }
  return last;
}

}  // namespace longspan::cuda
