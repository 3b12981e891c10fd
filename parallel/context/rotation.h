// Rotation: plans in which blocks of tokens travel from rank to rank and meet the tokens that stay. Heads may be split
// over the ranks of a group first. Ring, striped and zigzag attention, Ulysses and their products are all of this kind;
// a planner of the family chooses the layout of the tokens and the lanes.
#pragma once

#include <string_view>
#include <vector>

#include "parallel/context/layout.h"
#include "parallel/context/planner.h"

namespace longspan {

// Ranks as groups x columns: the ranks of a group share out the heads of all the group's tokens, column u the same
// heads in every group; blocks travel from group to group along a column. kColumnsAdjacent: rank = group * columns +
// column, so that heads are exchanged among neighbours; kGroupsAdjacent: rank = column * groups + group.
enum class RankOrder : std::uint8_t { kColumnsAdjacent, kGroupsAdjacent };
struct RankGrid {
  int groups = 1, columns = 1;
  RankOrder order = RankOrder::kColumnsAdjacent;
  int rank_of(int group, int column) const {
    return order == RankOrder::kColumnsAdjacent ? group * columns + column : column * groups + group;
  }
};

// Query heads head_begin … head_end-1, for the share first/of … last/of of each rank's queries in local order.
struct HeadShare {
  std::int64_t head_begin = 0, head_end = 0;
  std::int64_t first = 0, last = 1, of = 1;
};
// A part of a column's work with key/value heads that no other lane of the column needs. It runs `delay` steps after
// the first lane, so that its operands travel under another's tasks.
struct Lane {
  int column = 0;
  int delay = 0;
  std::vector<HeadShare> shares;
};

// Which side travels: keys and values (with their gradients, backward), or queries (with the partial output forward;
// with dout and dq backward: Burst attention's choice). The other side's results go home when they are complete.
enum class MovingSide : std::uint8_t { kKeys, kQueries };

struct Rotation {
  std::string_view scheme;
  RankGrid grid;
  std::vector<Lane> lanes;
  MovingSide forward = MovingSide::kKeys, backward = MovingSide::kKeys;
};

// With one column, tasks of step s on a rank of group g are over the block of group g-s. A block goes from a rank to
// the next one if both have use for it; where a rank has none the chain ends, and the owner itself starts the next one,
// so that nobody receives what it has no use for. What travels is the stretch that ranks further along the chain need.
// Results for the block follow it along each chain, every rank adding its share, and go home from its end. With several
// columns a first step brings each rank the heads of its lanes from the group's other ranks.
ContextPlan plan_rotation(const Rotation& rotation, const ContextProblem& problem, Home home);

// Rotation without lanes, over a grid of all ranks: each direction moves the side that is cheaper at this site.
Rotation make_rotation(std::string_view scheme, const RankGrid& grid, const ContextProblem& problem,
                       const ContextSite& site);

// The heads shared out over columns, each column's in up to `lanes_each` lanes by key/value heads. Any number of heads:
// where it is no multiple of the columns, two columns share a head by queries.
std::vector<Lane> head_lanes(const ContextProblem& problem, int columns, int lanes_each);

// A scheme of one column of all heads over some layout: ring, striped and zigzag attention.
class RotatingPlanner final : public ContextPlanner {
 public:
  using MakeHome = Home (*)(const ContextProblem& problem, int ranks);
  RotatingPlanner(std::string_view name, std::string_view summary, MakeHome make_home)
      : name_(name), summary_(summary), make_home_(make_home) {}
  std::string_view name() const override { return name_; }
  std::string_view summary() const override { return summary_; }
  Refusal why_unsupported(const ContextProblem& problem, const ContextSite& site) const override;
  Home home(const ContextProblem& problem, const ContextSite& site) const override;
  ContextPlan plan(const ContextProblem& problem, const ContextSite& site) const override;

 private:
  std::string_view name_, summary_;
  MakeHome make_home_;
};

// The side with fewer bytes a token: keys and values, with their gradients; or queries with what comes with them.
MovingSide cheaper_side(const ContextProblem& problem, const ContextSite& site, PlanDirection ContextPlan::*which);

}  // namespace longspan
