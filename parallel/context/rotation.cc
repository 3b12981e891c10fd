#include "parallel/context/rotation.h"

#include <algorithm>
#include <tuple>

#include "parallel/context/payload.h"
#include "parallel/context/proof.h"
#include "parallel/context/visibility.h"

namespace longspan {
namespace {

struct Stretch {
  std::int64_t begin = 0, end = 0;
  bool empty() const { return begin == end; }
};

Stretch hull(const Stretch& a, const Stretch& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// What a shard owns at places begin … end-1 of its local order.
Shard clip(const Shard& shard, std::int64_t begin, std::int64_t end) {
  Shard clipped;
  for (const auto& [from, to] :
       {std::pair(&shard.by_place, &clipped.by_place), std::pair(&shard.by_document, &clipped.by_document)})
    for (const TokenSegment& segment : *from) {
      const std::int64_t first = std::max(begin, segment.begin), last = std::min(end, segment.end());
      if (first < last) to->push_back(part_of(segment, first, last));
    }
  return clipped;
}

// Tokens of one owner and heads that one rank after another has use for; `need` is what each works on.
struct MovingItem {
  int owner = 0, column = 0, delay = 0;
  std::int64_t head_begin = 0, head_end = 0;
  std::vector<Stretch> need;  // by number of groups travelled
};
// Tokens of one owner and heads that one rank of its group works on.
struct StayingItem {
  int owner = 0, rank = 0, delay = 0, last_step = 0;
  std::int64_t head_begin = 0, head_end = 0;
  Stretch need;
};

class DirectionPlanner {
 public:
  DirectionPlanner(const ContextPlan& plan, const Rotation& rotation, PlanDirection ContextPlan::*which)
      : plan_(plan),
        rotation_(rotation),
        grid_(rotation.grid),
        moving_side_(which == &ContextPlan::forward ? rotation.forward : rotation.backward),
        backward_(which == &ContextPlan::backward),
        shards_(cut_by_documents(plan)) {}

  PlanDirection run() {
    make_items();
    for (int travelled = 0; travelled < grid_.groups; ++travelled)
      for (std::size_t lane = 0; lane < rotation_.lanes.size(); ++lane)
        for (int group = 0; group < grid_.groups; ++group) add_tasks(travelled, lane, group);
    for (const MovingItem& item : moving_) add_transfers(item);
    for (const StayingItem& item : staying_) add_transfers(item);
    const auto by_step = [](const auto& a, const auto& b) { return a.step < b.step; };
    if (!std::is_sorted(direction_.tasks.begin(), direction_.tasks.end(), by_step))
      std::stable_sort(direction_.tasks.begin(), direction_.tasks.end(), by_step);
    std::stable_sort(direction_.transfers.begin(), direction_.transfers.end(),
                     [](const PlanTransfer& a, const PlanTransfer& b) { return place_of(a) < place_of(b); });
    return std::move(direction_);
  }

 private:
  // In each step operands by who receives them, then results by who sends them.
  static std::tuple<int, bool, int> place_of(const PlanTransfer& t) {
    const bool operand = is_operand(t.kind);
    return {t.step, !operand, operand ? t.to : t.from};
  }

  bool keys_move() const { return moving_side_ == MovingSide::kKeys; }
  MovingSide staying_side() const { return keys_move() ? MovingSide::kQueries : MovingSide::kKeys; }
  bool split() const { return grid_.columns > 1; }
  int group_of(int rank) const {
    return grid_.order == RankOrder::kColumnsAdjacent ? rank / grid_.columns : rank % grid_.groups;
  }

  // Items of a lane stand together, of a share within it too, one for each owner.
  void make_items() {
    const std::int64_t heads_each = plan_.problem.heads / plan_.problem.kv_heads;
    first_query_item_.push_back(0);
    for (const Lane& lane : rotation_.lanes) {
      std::int64_t kv_begin = plan_.problem.kv_heads, kv_end = 0;
      std::vector<std::vector<Shard>>& clipped = clipped_.emplace_back();
      for (const HeadShare& share : lane.shares) {
        kv_begin = std::min(kv_begin, share.head_begin / heads_each);
        kv_end = std::max(kv_end, (share.head_end - 1) / heads_each + 1);
        std::vector<Shard>& shards = clipped.emplace_back();
        for (int owner = 0; owner < plan_.ranks && share.last - share.first < share.of; ++owner) {
          const std::int64_t tokens = plan_.tokens_of(owner);
          shards.push_back(clip(shards_[static_cast<std::size_t>(owner)], tokens * share.first / share.of,
                                tokens * share.last / share.of));
        }
        for (int owner = 0; owner < plan_.ranks; ++owner)
          add_item(MovingSide::kQueries, owner, lane, share.head_begin, share.head_end);
      }
      for (int owner = 0; owner < plan_.ranks; ++owner) add_item(MovingSide::kKeys, owner, lane, kv_begin, kv_end);
      first_query_item_.push_back(first_query_item_.back() + lane.shares.size());
    }
  }

  void add_item(MovingSide side, int owner, const Lane& lane, std::int64_t head_begin, std::int64_t head_end) {
    if (side == moving_side_)
      moving_.push_back({owner, lane.column, lane.delay, head_begin, head_end,
                         std::vector<Stretch>(static_cast<std::size_t>(grid_.groups))});
    else
      staying_.push_back({owner, grid_.rank_of(group_of(owner), lane.column), lane.delay, 0, head_begin, head_end, {}});
  }

  std::size_t query_item(std::size_t lane, std::size_t share, int owner) const {
    return (first_query_item_[lane] + share) * static_cast<std::size_t>(plan_.ranks) + static_cast<std::size_t>(owner);
  }
  std::size_t key_item(std::size_t lane, int owner) const {
    return lane * static_cast<std::size_t>(plan_.ranks) + static_cast<std::size_t>(owner);
  }

  // Tasks of a lane on a rank of `group`, over blocks that have travelled so many groups.
  void add_tasks(int travelled, std::size_t lane, int group) {
    const int rank = grid_.rank_of(group, rotation_.lanes[lane].column);
    const int from_group = (group - travelled + grid_.groups) % grid_.groups;
    for (int a = 0; a < grid_.columns; ++a)
      for (int b = 0; b < grid_.columns; ++b) {
        const int stays = grid_.rank_of(group, a), moves = grid_.rank_of(from_group, b);
        for (std::size_t share = 0; share < rotation_.lanes[lane].shares.size(); ++share)
          add_tasks(rank, travelled, lane, share, keys_move() ? stays : moves, keys_move() ? moves : stays);
      }
  }

  void add_tasks(int rank, int travelled, std::size_t lane, std::size_t share, int q_owner, int kv_owner) {
    const HeadShare& heads = rotation_.lanes[lane].shares[share];
    const std::vector<Shard>& queries = clipped_[lane][share].empty() ? shards_ : clipped_[lane][share];
    blocks_.clear();
    append_visible(visible_distances(plan_.problem), queries[static_cast<std::size_t>(q_owner)],
                   shards_[static_cast<std::size_t>(kv_owner)], blocks_);
    if (blocks_.empty()) return;
    // A rank's own queries and keys are there before anything has come.
    const bool own = q_owner == rank && kv_owner == rank;
    const int step = rotation_.lanes[lane].delay + (split() && !own ? 1 : 0) + travelled;
    Stretch q_need, kv_need;
    for (const VisibleBlock& block : blocks_) {
      direction_.tasks.push_back({rank,
                                  step,
                                  {q_owner, block.q_begin, block.q_end},
                                  {kv_owner, block.kv_begin, block.kv_end},
                                  heads.head_begin,
                                  heads.head_end,
                                  block.band});
      q_need = hull(q_need, {block.q_begin, block.q_end});
      kv_need = hull(kv_need, {block.kv_begin, block.kv_end});
    }
    MovingItem& moving = moving_[keys_move() ? key_item(lane, kv_owner) : query_item(lane, share, q_owner)];
    Stretch& need = moving.need[static_cast<std::size_t>(travelled)];
    need = hull(need, keys_move() ? kv_need : q_need);
    StayingItem& staying = staying_[keys_move() ? query_item(lane, share, q_owner) : key_item(lane, kv_owner)];
    staying.need = hull(staying.need, keys_move() ? q_need : kv_need);
    staying.last_step = std::max(staying.last_step, step);
  }

  // The kinds that bring one side to a rank, and the one in which results for it go home.
  std::vector<TransferKind> operands_of(MovingSide side) const {
    if (side == MovingSide::kKeys) return {TransferKind::kKeyValue};
    if (backward_) return {TransferKind::kQuery, TransferKind::kOutputGradient};
    return {TransferKind::kQuery};
  }
  bool has_result(MovingSide side) const { return backward_ || side == MovingSide::kQueries; }
  TransferKind result_of(MovingSide side) const {
    if (side == MovingSide::kKeys) return TransferKind::kKeyValueGradient;
    return backward_ ? TransferKind::kQueryGradient : TransferKind::kOutput;
  }

  template <class Item>
  void send(TransferKind kind, int from, int to, int step, const Item& item, const Stretch& stretch) {
    direction_.transfers.push_back(
        {kind, from, to, step, {item.owner, stretch.begin, stretch.end}, item.head_begin, item.head_end});
  }

  void add_transfers(const MovingItem& item) {
    const int groups = grid_.groups, home_group = group_of(item.owner);
    const int first_step = item.delay + (split() ? 1 : 0);
    const auto rank_at = [&](int travelled) { return grid_.rank_of((home_group + travelled) % groups, item.column); };
    const auto need = [&](int travelled) { return item.need[static_cast<std::size_t>(travelled)]; };
    const auto goes_on = [&](int travelled) { return travelled + 1 < groups && !need(travelled + 1).empty(); };
    // What arrives: a rank's own need and that of the ranks after it in the chain.
    std::vector<Stretch> arriving(item.need.size());
    for (int n = groups - 1; n >= 0; --n)
      if (!need(n).empty())
        arriving[static_cast<std::size_t>(n)] =
            goes_on(n) ? hull(need(n), arriving[static_cast<std::size_t>(n) + 1]) : need(n);
    // What is handed on: a rank's own share and those of the ranks before it in the chain.
    Stretch share;
    for (int n = 0; n < groups; ++n) {
      const int rank = rank_at(n);
      if (need(n).empty() || rank == item.owner) {
        share = {};
        continue;
      }
      const int from = n > 0 && !need(n - 1).empty() ? rank_at(n - 1) : item.owner;
      for (const TransferKind kind : operands_of(moving_side_))
        send(kind, from, rank, first_step + n - 1, item, arriving[static_cast<std::size_t>(n)]);
      share = hull(need(n), share);
      if (has_result(moving_side_))
        send(result_of(moving_side_), rank, goes_on(n) ? rank_at(n + 1) : item.owner, first_step + n, item, share);
    }
  }

  void add_transfers(const StayingItem& item) {
    if (item.rank == item.owner || item.need.empty()) return;
    for (const TransferKind kind : operands_of(staying_side()))
      send(kind, item.owner, item.rank, item.delay, item, item.need);
    if (has_result(staying_side()))
      send(result_of(staying_side()), item.rank, item.owner, item.last_step, item, item.need);
  }

  const ContextPlan& plan_;
  const Rotation& rotation_;
  const RankGrid grid_;
  const MovingSide moving_side_;
  const bool backward_;
  const std::vector<Shard> shards_;
  std::vector<std::vector<std::vector<Shard>>> clipped_;  // [lane][share][owner]; empty where a share is whole
  std::vector<std::size_t> first_query_item_;             // by lane
  std::vector<MovingItem> moving_;
  std::vector<StayingItem> staying_;
  std::vector<VisibleBlock> blocks_;
  PlanDirection direction_;
};

}  // namespace

ContextPlan plan_rotation(const Rotation& rotation, const ContextProblem& problem, Home home) {
  ContextPlan plan;
  plan.scheme = rotation.scheme;
  plan.ranks = static_cast<int>(home.size());
  plan.problem = problem;
  plan.home = std::move(home);
  plan.forward = DirectionPlanner(plan, rotation, &ContextPlan::forward).run();
  plan.backward = DirectionPlanner(plan, rotation, &ContextPlan::backward).run();
  return plan;
}

Rotation make_rotation(std::string_view scheme, const RankGrid& grid, const ContextProblem& problem,
                       const ContextSite& site) {
  return {.scheme = scheme,
          .grid = grid,
          .lanes = {},
          .forward = cheaper_side(problem, site, &ContextPlan::forward),
          .backward = cheaper_side(problem, site, &ContextPlan::backward)};
}

std::vector<Lane> head_lanes(const ContextProblem& problem, int columns, int lanes_each) {
  const std::int64_t heads = problem.heads, group = heads / problem.kv_heads;
  std::vector<Lane> lanes;
  for (std::int64_t column = 0; column < columns; ++column) {
    // In parts of a head, of which each has as many as there are columns.
    const std::int64_t begin = heads * column, end = begin + heads;
    const std::int64_t kv_begin = begin / columns / group, kv_count = ((end - 1) / columns) / group + 1 - kv_begin;
    const std::int64_t count = std::min<std::int64_t>(lanes_each, kv_count);
    const std::size_t first_lane = lanes.size();
    for (std::int64_t lane = 0; lane < count; ++lane)
      lanes.push_back({static_cast<int>(column), static_cast<int>(lane), {}});
    for (std::int64_t head = begin / columns; head * columns < end; ++head) {
      const std::int64_t first = std::max<std::int64_t>(0, begin - head * columns);
      const std::int64_t last = std::min<std::int64_t>(columns, end - head * columns);
      const std::int64_t lane = (head / group - kv_begin) * count / kv_count;
      std::vector<HeadShare>& shares = lanes[first_lane + static_cast<std::size_t>(lane)].shares;
      const bool whole = last - first == columns;
      if (whole && !shares.empty() && shares.back().last - shares.back().first == shares.back().of)
        ++shares.back().head_end;
      else
        shares.push_back({head, head + 1, first, last, columns});
    }
  }
  return lanes;
}

Refusal RotatingPlanner::why_unsupported(const ContextProblem& problem, const ContextSite& site) const {
  return why_too_many_rectangles(problem, home(problem, site), 1);
}

Home RotatingPlanner::home(const ContextProblem& problem, const ContextSite& site) const {
  return make_home_(problem, site.ranks);
}

ContextPlan RotatingPlanner::plan(const ContextProblem& problem, const ContextSite& site) const {
  Rotation rotation = make_rotation(name_, {site.ranks, 1}, problem, site);
  rotation.lanes = head_lanes(problem, 1, 1);
  return plan_rotation(rotation, problem, home(problem, site));
}

MovingSide cheaper_side(const ContextProblem& problem, const ContextSite& site, PlanDirection ContextPlan::*which) {
  const AttentionDesc desc = site.desc();
  const auto bytes = [&](TransferKind kind) { return bytes_of_element(kind, desc); };
  std::int64_t keys = bytes(TransferKind::kKeyValue), queries = bytes(TransferKind::kQuery);
  if (which == &ContextPlan::forward) {
    queries += bytes(TransferKind::kOutput);
  } else {
    keys += bytes(TransferKind::kKeyValueGradient);
    queries += bytes(TransferKind::kOutputGradient) + bytes(TransferKind::kQueryGradient);
  }
  return problem.heads * queries < problem.kv_heads * keys ? MovingSide::kQueries : MovingSide::kKeys;
}

}  // namespace longspan
