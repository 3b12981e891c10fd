// Changes of layout: every row goes where its token lives afterwards, there and back to the bit, in the bytes and the
// memory that are planned; and each way to break a change is refused with its own sentence.
#include "parallel/context/layout_change.h"

#include <cstring>
#include <functional>
#include <limits>
#include <set>

#include "tests/parallel/layout_cases.h"
#include "tests/support/expect_error.h"

namespace longspan {
namespace {

using layout_cases::homes_of;
using layout_cases::NamedHome;
using layout_cases::tokens_of;

using Visit = std::function<void(const std::vector<std::int64_t>&, const NamedHome&, const NamedHome&)>;
void for_each_change(const std::vector<int>& rank_counts, const Visit& visit) {
  for (const auto& cu_seqlens : layout_cases::batches())
    for (const int ranks : rank_counts) {
      const std::vector<NamedHome> homes = homes_of(cu_seqlens, ranks);
      for (const NamedHome& from : homes)
        for (const NamedHome& to : homes) {
          SCOPED_TRACE(fmt::format("{} to {} over {} ranks, cu_seqlens [{}]", from.name, to.name, ranks,
                                   fmt::join(cu_seqlens, ", ")));
          visit(cu_seqlens, from, to);
          if (::testing::Test::HasFailure()) return;
        }
    }
}

// Moves tokens themselves instead of rows.
std::vector<std::vector<std::int64_t>> moved(const LayoutChange& change) {
  const auto before = tokens_of(change.from), expected = tokens_of(change.to);
  std::vector<std::vector<std::int64_t>> after(expected.size());
  for (std::size_t rank = 0; rank < after.size(); ++rank) after[rank].assign(expected[rank].size(), -1);
  for (const auto& moves : change.moves)
    for (const LayoutMove& move : moves)
      for (std::int64_t i = 0; i < move.count; ++i) {
        std::int64_t& place = after[move.to].at(move.target.first + i * move.target.stride);
        EXPECT_EQ(place, -1);
        place = before[move.from].at(move.source.first + i * move.source.stride);
      }
  return after;
}

TEST(LayoutChange, TakesEveryTokenToItsPlace) {
  for_each_change({1, 2, 3, 4, 5, 6, 7, 8}, [](const auto&, const NamedHome& from, const NamedHome& to) {
    const LayoutChange change = plan_layout_change(from.home, to.home);
    EXPECT_EQ(moved(change), tokens_of(to.home));
    EXPECT_EQ(find_fault(change), std::nullopt);
    EXPECT_EQ(inverse_of(inverse_of(change)), change);
    EXPECT_EQ(find_fault(inverse_of(change)), std::nullopt);
    const bool stays = from.name == to.name;
    EXPECT_TRUE(!stays || bytes_sent_by_ranks(change, 4) == std::vector<std::int64_t>(from.home.size()));
  });
}

TEST(LayoutChange, IsOfTokensNotOfRuns) {
  const std::vector<std::int64_t> cu_seqlens = {0, 13, 13, 40};
  const Home whole = contiguous_home({.cu_seqlens = cu_seqlens}, 4), striped = striped_home({cu_seqlens}, 4);
  Home cut = whole;  // says the same
  cut[2] = {{20, 1, 3}, {23, 5, 1}, {24, 1, 6}};
  EXPECT_EQ(plan_layout_change(whole, striped).moves, plan_layout_change(cut, striped).moves);
  EXPECT_EQ(plan_layout_change(striped, whole).moves, plan_layout_change(striped, cut).moves);
}

TEST(LayoutChange, HasAMessageOfOneMoveBetweenContiguousAndStriped) {
  const ContextProblem problem{.cu_seqlens = {0, 1'000, 4'000}};
  const LayoutChange change = plan_layout_change(contiguous_home(problem, 4), striped_home(problem, 4));
  for (const auto& moves : change.moves) EXPECT_EQ(moves.size(), 4u);
  const LayoutMove expected{1, 2, 250, {2, 4}, {250, 1}};  // tokens 1002, 1006 …
  EXPECT_EQ(change.moves[1][2], expected);
  EXPECT_EQ(bytes_sent_by_ranks(change, 8), std::vector<std::int64_t>(4, 750 * 8));
}

// Runs.

// Any bits: a change of layout does not look at what it moves.
std::uint32_t bits_of(std::int64_t token, std::int64_t e) {
  return static_cast<std::uint32_t>(token * 7919 + e + 1) * 2654435761u;
}

std::vector<std::byte> rows_of(const std::vector<std::int64_t>& tokens, DType dtype, std::int64_t width) {
  const auto size = static_cast<std::size_t>(size_of(dtype));
  std::vector<std::byte> rows(tokens.size() * static_cast<std::size_t>(width) * size);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    for (std::int64_t e = 0; e < width; ++e) {
      const std::uint32_t bits = bits_of(tokens[i], e);
      std::memcpy(&rows[(i * static_cast<std::size_t>(width) + static_cast<std::size_t>(e)) * size], &bits, size);
    }
  return rows;
}

Tensor tensor_of(std::vector<std::byte>& rows, DType dtype, std::int64_t width) {
  return Tensor(rows.data(), dtype, {static_cast<std::int64_t>(rows.size()) / (width * size_of(dtype)), width});
}

struct RunOptions {
  DType dtype = DType::kF32;
  std::int64_t width = 5;
  int num_threads = 1;
};

void expect_runs(const LayoutChange& change, const RunOptions& options) {
  const auto [dtype, width, num_threads] = options;
  const auto before = tokens_of(change.from), after = tokens_of(change.to);
  const std::int64_t row_bytes = width * size_of(dtype);
  const LayoutChange back = inverse_of(change);
  run_local_ranks(static_cast<int>(before.size()), {.timeout_ms = 60'000}, [&](Communicator& comm) {
    const auto rank = static_cast<std::size_t>(comm.rank());
    std::vector<std::byte> in = rows_of(before[rank], dtype, width), out(rows_of(after[rank], dtype, width).size());
    std::vector<std::byte> returned(in.size());
    Arena scratch("scratch", layout_change_workspace_bytes(change, comm.rank(), row_bytes));
    const Exec exec{Device::kCpu, num_threads, &scratch};
    const std::int64_t sent =
        change_layout(exec, comm, change, tensor_of(in, dtype, width), tensor_of(out, dtype, width));
    EXPECT_EQ(out, rows_of(after[rank], dtype, width)) << "rank " << rank;
    EXPECT_EQ(sent, bytes_sent_by_ranks(change, row_bytes)[rank]);
    EXPECT_EQ(sent, comm.bytes_sent());
    EXPECT_EQ(scratch.peak_bytes(), scratch.capacity_bytes());
    EXPECT_EQ(scratch.used_bytes(), 0);

    Arena back_scratch("scratch", layout_change_workspace_bytes(back, comm.rank(), row_bytes));
    change_layout({Device::kCpu, num_threads, &back_scratch}, comm, back, tensor_of(out, dtype, width),
                  tensor_of(returned, dtype, width));
    EXPECT_EQ(returned, in) << "rank " << rank;
  });
}

TEST(LayoutChange, MovesRowsThereAndBackToTheBit) {
  for_each_change({1, 2, 3, 4, 8}, [](const auto&, const NamedHome& from, const NamedHome& to) {
    const LayoutChange change = plan_layout_change(from.home, to.home);
    expect_runs(change, {.dtype = DType::kF32});
    expect_runs(change, {.dtype = DType::kBF16, .width = 3, .num_threads = 2});
  });
}

TEST(LayoutChange, RefusesRowsThatDoNotFit) {
  const ContextProblem problem{.cu_seqlens = {0, 8}};
  const LayoutChange change = plan_layout_change(contiguous_home(problem, 1), striped_home(problem, 1));
  std::vector<float> memory(80);
  run_local_ranks(1, {}, [&](Communicator& comm) {
    Arena scratch("scratch", 1 << 12);
    const Exec exec{Device::kCpu, 1, &scratch};
    const auto rows = [&](std::int64_t begin, std::int64_t count, std::int64_t width) {
      return Tensor(&memory[static_cast<std::size_t>(begin)], DType::kF32, {count, width});
    };
    const auto run = [&](const Tensor& in, const Tensor& out) { change_layout(exec, comm, change, in, out); };
    run(rows(0, 8, 4), rows(32, 8, 4));
    testing::expect_error(ErrorKind::kInternal, {"in is fp32[7, 4]"}, [&] { run(rows(0, 7, 4), rows(32, 8, 4)); });
    testing::expect_error(ErrorKind::kInternal, {"out is fp32[9, 4]"}, [&] { run(rows(0, 8, 4), rows(32, 9, 4)); });
    testing::expect_error(ErrorKind::kInternal, {"to fp32[8, 5]"}, [&] { run(rows(0, 8, 4), rows(32, 8, 5)); });
    testing::expect_error(ErrorKind::kInternal, {"share memory"}, [&] { run(rows(0, 8, 4), rows(31, 8, 4)); });
  });
}

// Ways to break a change.

LayoutChange right_change() {
  const ContextProblem problem{.cu_seqlens = {0, 13, 13, 40}};
  return plan_layout_change(contiguous_home(problem, 4), striped_home(problem, 4));
}

struct Mutation {
  std::string name;
  std::function<void(LayoutChange&)> apply;
  std::string words;
};

std::vector<Mutation> mutations() {
  return {
      {"a move too few", [](auto& c) { c.moves[1].erase(c.moves[1].begin()); }, "token 12 is moved by no rank"},
      {"a move twice", [](auto& c) { c.moves[1].insert(c.moves[1].begin(), c.moves[1][0]); }, "token 12 a second time"},
      {"a row too few", [](auto& c) { c.moves[2][1].count -= 1; }, "token 29 is moved by no rank"},
      {"a row too many", [](auto& c) { c.moves[0][3].count += 1; }, "leaves the 10 rows of its sender"},
      {"a row beyond the receiver", [](auto& c) { c.moves[3][1].target.first += 1; }, "leaves the 10 rows of its rec"},
      {"another place", [](auto& c) { c.moves[0][2].target.first += 1; }, "it belongs in place 0 of rank 2"},
      {"another rank", [](auto& c) { c.moves[0][3].to = 2; }, "puts token 3 in place 0 of rank 2"},
      {"another stride", [](auto& c) { c.moves[0][0].source.stride = 3; }, "puts token 3 in place 1 of rank 0"},
      {"a stride backwards", [](auto& c) { c.moves[0][0].target.stride = -1; }, "not positive"},
      {"other rows", [](auto& c) { c.moves[2][0].source.first += 1; }, "puts token 21 in place 5 of rank 0"},
      {"a sender that is another", [](auto& c) { c.moves[2][0].from = 1; }, "listed by another rank"},
      {"a receiver that is none", [](auto& c) { c.moves[2][3].to = 4; }, "none of 4 ranks"},
      {"two moves that change places", [](auto& c) { std::swap(c.moves[1][2], c.moves[1][3]); },
       "take a message apart"},
      {"a rank without moves", [](auto& c) { c.moves.pop_back(); }, "listed for 3 ranks of 4"},
      {"an old home with a token twice", [](auto& c) { c.from[1][0].first = 9; }, "old home: token 9 is owned twice"},
      {"a new home with a token twice", [](auto& c) { c.to[1] = c.to[0]; }, "new home: token 0 is owned twice"},
      {"a new home with a token more", [](auto& c) { c.to[3][0].count += 1; }, "leave the batch of 40 tokens"},
      {"a new home with a token fewer", [](auto& c) { c.to[3][0].count -= 1; }, "new home: token 39 is owned by no"},
      {"a new home over fewer ranks", [](auto& c) { c.to.pop_back(); }, "lists 4 ranks, the new one 3"},
  };
}

TEST(LayoutChange, RefusesEveryBrokenChangeWithItsOwnSentence) {
  std::set<std::string> sentences;
  for (const Mutation& mutation : mutations()) {
    SCOPED_TRACE(mutation.name);
    LayoutChange change = right_change();
    mutation.apply(change);
    const auto fault = find_fault(change);
    ASSERT_TRUE(fault);
    EXPECT_NE(fault->find(mutation.words), std::string::npos) << *fault;
    EXPECT_TRUE(sentences.insert(*fault).second) << *fault;
  }
}

TEST(LayoutChange, RefusesHomesOfOtherTokens) {
  const Home home = contiguous_home({.cu_seqlens = {0, 40}}, 4);
  const auto plan = [&](const Home& to) { return [&, to] { plan_layout_change(home, to); }; };
  testing::expect_error(ErrorKind::kInternal, {"token 39 is owned by no rank"},
                        plan(striped_home({.cu_seqlens = {0, 39}}, 4)));
  testing::expect_error(ErrorKind::kInternal, {"leave the batch of 40 tokens"},
                        plan(striped_home({.cu_seqlens = {0, 41}}, 4)));
  testing::expect_error(ErrorKind::kInternal, {"lists 4 ranks, the new one 5"},
                        plan(striped_home({.cu_seqlens = {0, 40}}, 5)));
}

// A field of a random move is moved by a little, or set to something wild.
void damage(LayoutChange& change, std::mt19937& random) {
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  std::vector<LayoutMove*> moves;
  for (auto& some : change.moves)
    for (LayoutMove& move : some) moves.push_back(&move);
  LayoutMove& move = *moves[static_cast<std::size_t>(draw(0, static_cast<int>(moves.size()) - 1))];
  constexpr std::int64_t kWild[] = {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max(),
                                    -1, 0, 1LL << 45};
  const auto change_number = [&](auto& number) {
    using Number = std::remove_reference_t<decltype(number)>;
    const std::int64_t changed = draw(0, 3) == 0 ? kWild[draw(0, 4)] : number + draw(-2, 2);
    number = static_cast<Number>(changed);
  };
  switch (draw(0, 6)) {
    case 0: return change_number(move.from);
    case 1: return change_number(move.to);
    case 2: return change_number(move.count);
    case 3: return change_number(move.source.first);
    case 4: return change_number(move.source.stride);
    case 5: return change_number(move.target.first);
    default: return change_number(move.target.stride);
  }
}

TEST(LayoutChange, TakesNoDamagedChangeThatMovesSomethingElse) {
  std::mt19937 random(17);
  int refused = 0;
  for (int round = 0; round < 4000; ++round) {
    const int ranks = 1 + round % 4;
    const auto homes = homes_of({0, 9, 9, 24}, ranks);
    LayoutChange change = plan_layout_change(homes[round / 4 % 4].home, homes[round / 16 % 4].home);
    damage(change, random);
    std::optional<std::string> fault;
    ASSERT_NO_THROW(fault = find_fault(change));
    refused += fault.has_value();
    ASSERT_TRUE(fault || moved(change) == tokens_of(change.to));
  }
  EXPECT_GT(refused, 2000);
}

}  // namespace
}  // namespace longspan
