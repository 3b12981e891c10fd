// Planning a change of layout, and its proof.
#include "parallel/context/layout_change.h"

#include <algorithm>

#include "parallel/context/problem.h"
#include "parallel/context/proof.h"

namespace longspan {
namespace {

// Of a home that may be nonsense: never more than one above what is planned.
std::int64_t total_of(const Home& home) {
  std::int64_t total = 0;
  for (const std::vector<TokenRun>& runs : home)
    for (const TokenRun& run : runs)
      total = std::min(total + std::clamp(run.count, std::int64_t{0}, kMaxPlanTokens), kMaxPlanTokens + 1);
  return total;
}

// How many tokens there are is the old home's to say: the new one is held against it.
std::optional<std::string> find_homes_fault(const Home& from, const Home& to) {
  if (from.size() != to.size())
    return fmt::format("the old home lists {} ranks, the new one {}", from.size(), to.size());
  const std::int64_t total = total_of(from);
  if (total > kMaxPlanTokens) return fmt::format("more tokens than {}, the most that are planned", kMaxPlanTokens);
  if (const auto fault = find_home_fault(from, total)) return fmt::format("old home: {}", *fault);
  if (const auto fault = find_home_fault(to, total)) return fmt::format("new home: {}", *fault);
  return std::nullopt;
}

// Whether the move, one row longer, ends with this one. Its second row says what its strides are.
bool continues(const LayoutMove& move, std::int64_t source, std::int64_t target) {
  if (move.count == 1) return target > move.target.first;
  return source == move.source.first + move.count * move.source.stride &&
         target == move.target.first + move.count * move.target.stride;
}

void append_row(std::vector<LayoutMove>& moves, const LayoutMove& row) {
  if (moves.empty() || !continues(moves.back(), row.source.first, row.target.first)) return moves.push_back(row);
  LayoutMove& last = moves.back();
  if (++last.count > 2) return;
  last.source.stride = row.source.first - last.source.first;
  last.target.stride = row.target.first - last.target.first;
}

// What one rank sends to whom, from its tokens one by one.
std::vector<LayoutMove> moves_of(int sender, const std::vector<TokenRun>& tokens,
                                 const std::vector<TokenPlace>& target_of, std::size_t ranks) {
  std::vector<std::vector<LayoutMove>> by_receiver(ranks);
  std::int64_t place = 0;
  for (const TokenRun& run : tokens)
    for (std::int64_t i = 0; i < run.count; ++i, ++place) {
      const TokenPlace& target = target_of[static_cast<std::size_t>(run.first + i * run.stride)];
      append_row(by_receiver[static_cast<std::size_t>(target.rank)],
                 {sender, target.rank, 1, {place, 1}, {target.place, 1}});
    }
  std::vector<LayoutMove> moves;
  for (const std::vector<LayoutMove>& some : by_receiver) moves.insert(moves.end(), some.begin(), some.end());
  return moves;
}

// "move 3 of rank 1 (5 rows from place 2 by 4 of rank 1 to place 0 by 1 of rank 2)".
std::string describe(int sender, std::size_t index, const LayoutMove& move) {
  return fmt::format("move {} of rank {} ({} rows from place {} by {} of rank {} to place {} by {} of rank {})", index,
                     sender, move.count, move.source.first, move.source.stride, move.from, move.target.first,
                     move.target.stride, move.to);
}

bool leaves(const PlaceRun& places, std::int64_t count, std::int64_t tokens) {
  return places.first < 0 || places.first >= tokens || count - 1 > (tokens - 1 - places.first) / places.stride;
}

// The proof of the moves, once the homes are proved.
class MoveProof {
 public:
  explicit MoveProof(const LayoutChange& change) : change_(change) {
    const std::int64_t total = total_of(change.from);
    target_of_ = places_of(change.to, total);
    for (const Home* home : {&change.from, &change.to})
      for (const std::vector<TokenRun>& runs : *home) counts_.push_back(count_tokens(runs));
    moved_.resize(static_cast<std::size_t>(total));
  }

  std::optional<std::string> find_fault() {
    for (std::size_t sender = 0; sender < change_.moves.size(); ++sender)
      if (auto fault = find_fault_of(static_cast<int>(sender))) return fault;
    for (std::size_t token = 0; token < moved_.size(); ++token)
      if (!moved_[token]) return fmt::format("token {} is moved by no rank", token);
    return std::nullopt;
  }

 private:
  std::int64_t rows_before(int rank) const { return counts_[static_cast<std::size_t>(rank)]; }
  std::int64_t rows_after(int rank) const { return counts_[change_.from.size() + static_cast<std::size_t>(rank)]; }

  std::optional<std::string> find_fault_of(int sender) {
    const std::vector<LayoutMove>& moves = change_.moves[static_cast<std::size_t>(sender)];
    std::vector<std::int64_t> tokens;
    for (const TokenRun& run : change_.from[static_cast<std::size_t>(sender)])
      for (std::int64_t i = 0; i < run.count; ++i) tokens.push_back(run.first + i * run.stride);
    for (std::size_t index = 0; index < moves.size(); ++index) {
      if (auto fault = find_field_fault(sender, moves[index]))
        return fmt::format("{} {}", describe(sender, index, moves[index]), *fault);
      if (index > 0 && std::pair(moves[index].to, moves[index].source.first) <
                           std::pair(moves[index - 1].to, moves[index - 1].source.first))
        return fmt::format("{} stands after one to rank {} from place {}: both ends take a message apart in this order",
                           describe(sender, index, moves[index]), moves[index - 1].to, moves[index - 1].source.first);
      if (auto fault = find_row_fault(moves[index], tokens))
        return fmt::format("{} {}", describe(sender, index, moves[index]), *fault);
    }
    return std::nullopt;
  }

  std::optional<std::string> find_field_fault(int sender, const LayoutMove& move) const {
    if (move.from != sender) return "is listed by another rank than sends it";
    if (move.to < 0 || move.to >= static_cast<int>(change_.to.size()))
      return fmt::format("has a receiver that is none of {} ranks", change_.to.size());
    if (move.count < 1 || move.source.stride < 1 || move.target.stride < 1)
      return "has a count or a stride that is not positive";
    if (leaves(move.source, move.count, rows_before(move.from)))
      return fmt::format("leaves the {} rows of its sender", rows_before(move.from));
    if (leaves(move.target, move.count, rows_after(move.to)))
      return fmt::format("leaves the {} rows of its receiver", rows_after(move.to));
    return std::nullopt;
  }

  // A token that is moved once, and to its own place, leaves no room for two tokens in a place.
  std::optional<std::string> find_row_fault(const LayoutMove& move, const std::vector<std::int64_t>& tokens) {
    for (std::int64_t i = 0; i < move.count; ++i) {
      const std::int64_t token = tokens[static_cast<std::size_t>(move.source.first + i * move.source.stride)];
      const TokenPlace& target = target_of_[static_cast<std::size_t>(token)];
      const std::int64_t place = move.target.first + i * move.target.stride;
      if (target != TokenPlace{move.to, place})
        return fmt::format("puts token {} in place {} of rank {}; it belongs in place {} of rank {}", token, place,
                           move.to, target.place, target.rank);
      if (moved_[static_cast<std::size_t>(token)]) return fmt::format("moves token {} a second time", token);
      moved_[static_cast<std::size_t>(token)] = true;
    }
    return std::nullopt;
  }

  const LayoutChange& change_;
  std::vector<TokenPlace> target_of_;  // by token
  std::vector<std::int64_t> counts_;   // rows of each rank before, then after
  std::vector<bool> moved_;
};

}  // namespace

LayoutChange plan_layout_change(const Home& from, const Home& to) {
  const std::optional<std::string> fault = find_homes_fault(from, to);
  LS_REQUIRE(kInternal, !fault,
             "no change of layout between homes that do not own the same tokens: {}; plan both for the same documents "
             "and ranks",
             *fault);
  const std::vector<TokenPlace> target_of = places_of(to, total_of(from));
  LayoutChange change{from, to, {}};
  for (std::size_t sender = 0; sender < from.size(); ++sender)
    change.moves.push_back(moves_of(static_cast<int>(sender), from[sender], target_of, from.size()));
  return change;
}

LayoutChange inverse_of(const LayoutChange& change) {
  return plan_layout_change(change.to, change.from);
}

std::optional<std::string> find_fault(const LayoutChange& change) {
  if (auto fault = find_homes_fault(change.from, change.to)) return fault;
  if (change.moves.size() != change.from.size())
    return fmt::format("moves are listed for {} ranks of {}", change.moves.size(), change.from.size());
  return MoveProof(change).find_fault();
}

}  // namespace longspan
