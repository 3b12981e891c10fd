// bench context: a row for every scheme and number of ranks, bytes that are counted and not believed, and traces that
// are what they should be. Nothing asserts a time.
#include "trainer/check/bench_context.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include "parallel/context/planner.h"
#include "tests/support/expect_error.h"
#include "trainer/check/bench_tools.h"
#include "trainer/check/forwarding_communicator.h"
#include "trainer/check/trace_file.h"

namespace longspan {
namespace {

using nlohmann::json;

ContextBenchCase small_case(std::string_view scheme) {
  return {.scheme = std::string(scheme), .problem = {{0, 40, 40, 131}, 4, 2, true, 0}, .head_dim = 16, .value_dim = 8};
}

// The rows of all ranks, and the bytes that each sent in all.
struct Rows {
  std::vector<ContextBenchRow> of_ranks;
  std::vector<std::int64_t> bytes_sent;
};
Rows run(const ContextBenchCase& which, const ContextBenchOptions& options, int ranks, KernelBaselines& baselines) {
  Rows rows{std::vector<ContextBenchRow>(ranks), std::vector<std::int64_t>(ranks)};
  run_local_ranks(ranks, {.timeout_ms = 60'000}, [&](Communicator& world) {
    rows.of_ranks[world.rank()] = bench_context({world, baselines}, which, options);
    rows.bytes_sent[world.rank()] = world.bytes_sent();
  });
  return rows;
}

void expect_sound(const ContextBenchDirection& row, const std::vector<std::int64_t>& planned) {
  EXPECT_EQ(row.planned_bytes, planned);
  EXPECT_EQ(row.bytes_sent, planned);
  EXPECT_GT(row.least_ms, 0);
  EXPECT_LE(row.least_ms, row.median_ms);
  EXPECT_GT(row.compute_ms, 0);
  EXPECT_LE(row.compute_ms, row.median_ms);
  EXPECT_GE(row.exposed_ms, 0);
  EXPECT_LE(row.exposed_ms, row.median_ms);
  EXPECT_GT(row.work_ratio, 0);
  EXPECT_GT(row.cpu_work_ratio, 0);
  EXPECT_GE(row.balance_of_totals, 1);
  EXPECT_GE(row.balance_of_steps, 1);
  EXPECT_GE(row.booked_buffer_bytes, row.peak_buffer_bytes);
  EXPECT_EQ(row.peak_buffer_bytes > 0, planned.size() > 1);
}

TEST(BenchContext, GivesARowForEverySchemeAndCountsTheBytesOfThePlan) {
  KernelBaselines baselines;
  for (const int ranks : {1, 2, 4})
    for (const std::string_view scheme : context_scheme_names()) {
      SCOPED_TRACE(fmt::format("{} over {}", scheme, ranks));
      const ContextBenchCase which = small_case(scheme);
      const Rows rows = run(which, {.threads = 1, .repetitions = 2}, ranks, baselines);
      if (scheme == "two_d" && ranks == 2) {
        EXPECT_NE(rows.of_ranks[0].refusal.find("no product of two numbers"), std::string::npos);
        EXPECT_EQ(rows.bytes_sent, std::vector<std::int64_t>(2, 0));
        continue;
      }
      const AttentionDesc desc{.heads = 4, .kv_heads = 2, .head_dim = 16, .value_dim = 8};
      const ContextPlan plan = make_context_plan(scheme, which.problem, ContextSite(ranks, desc));
      const auto forward = bytes_sent_by_ranks(plan, plan.forward, desc);
      const auto backward = bytes_sent_by_ranks(plan, plan.backward, desc);
      for (int rank = 0; rank < ranks; ++rank) {
        const ContextBenchRow& row = rows.of_ranks[rank];
        EXPECT_EQ(row.refusal, "");
        EXPECT_EQ(row.ranks, ranks);
        expect_sound(row.forward, forward);
        expect_sound(row.backward, backward);
        EXPECT_EQ(row.forward.median_ms, rows.of_ranks[0].forward.median_ms) << "rank " << rank;
        EXPECT_EQ(rows.bytes_sent[rank], 3 * (forward[rank] + backward[rank])) << "rank " << rank;
      }
    }
  EXPECT_EQ(baselines.size(), 1u) << "the problem by itself is timed once for all of them";
}

TEST(BenchContext, SendsNothingInTimedRunsWhereTransfersAreFree) {
  KernelBaselines baselines;
  for (const ContextPlanner* planner : context_planners()) {
    if (planner->name() == "two_d") continue;  // refuses three ranks
    const ContextBenchOptions options{.repetitions = 3, .transfers = Transfers::kFree};
    const Rows rows = run(small_case(planner->name()), options, 3, baselines);
    for (int rank = 0; rank < 3; ++rank) {
      const ContextBenchRow& row = rows.of_ranks[rank];
      EXPECT_GT(row.backward.planned_bytes[rank], 0);
      EXPECT_EQ(rows.bytes_sent[rank], row.forward.planned_bytes[rank] + row.backward.planned_bytes[rank]);
    }
  }
}

// Counts a byte too many for each transfer that rank 1 starts.
class Miscount final : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;
  std::unique_ptr<PendingTransfers> start(std::span<const Send> sends, std::span<const Receive> receives,
                                          std::string_view what) override {
    excess_ += rank() == 1;
    return ForwardingCommunicator::start(sends, receives, what);
  }
  std::int64_t bytes_sent() const override { return ForwardingCommunicator::bytes_sent() + excess_; }

 private:
  std::int64_t excess_ = 0;
};

TEST(BenchContext, NamesTheRankThatDoesNotSendWhatThePlanSays) {
  KernelBaselines baselines;
  testing::expect_error(ErrorKind::kInternal, {"rank 1 sent", "bytes forward, but the plan says"}, [&] {
    run_local_ranks(2, {.timeout_ms = 60'000}, [&](Communicator& world) {
      Miscount miscount(world);
      bench_context({miscount, baselines}, small_case("ring"), {.repetitions = 1});
    });
  });
}

TEST(BenchContext, RefusesWhatMakesNoSense) {
  KernelBaselines baselines;
  const auto expect_usage = [&](const ContextBenchCase& which, const ContextBenchOptions& options) {
    testing::expect_error(ErrorKind::kUsage, {}, [&] { run(which, options, 1, baselines); });
  };
  expect_usage(small_case("ring"), {.repetitions = 0});
  expect_usage(small_case("ring"), {.threads = 0});
  expect_usage(small_case("rung"), {});
  ContextBenchCase nothing = small_case("ring");
  nothing.problem.cu_seqlens = {0, 0};
  expect_usage(nothing, {});
}

TEST(BenchContext, OfRepetitionsTakesTheMedianAndTheLeast) {
  EXPECT_EQ(median({5, 1, 9}), 5);
  EXPECT_EQ(median({2, 1}), 2);
  EXPECT_EQ(least({5, 1, 9}), 1);
}

// Events of a trace, checked on the way: every rank has every track by name, and no event begins before the one before
// it in its track has ended.
struct Trace {
  std::map<int, std::map<std::string, int>> events;  // [rank][track]: how many
  double first_us = 1e30;
};
Trace read(const std::string& text) {
  Trace trace;
  std::map<std::pair<int, int>, std::string> tracks;
  std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> stretches;
  const json all = json::parse(text);
  for (const json& event : all.at("traceEvents")) {
    const std::pair<int, int> row{event.at("pid"), event.at("tid")};
    if (event.at("ph") == "M") {
      if (event.at("name") == "thread_name") tracks[row] = event.at("args").at("name");
      continue;
    }
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_GE(event.at("dur").get<double>(), 0) << event;
    stretches[row].emplace_back(event.at("ts"), event.at("ts").get<double>() + event.at("dur").get<double>());
    trace.first_us = std::min(trace.first_us, event.at("ts").get<double>());
  }
  for (auto& [row, of_row] : stretches) {
    trace.events[row.first][tracks.at(row)] = static_cast<int>(of_row.size());
    std::sort(of_row.begin(), of_row.end());
    for (std::size_t i = 1; i < of_row.size(); ++i)
      EXPECT_LE(of_row[i - 1].second, of_row[i].first + 1e-3) << "rank " << row.first << ", " << tracks.at(row);
  }
  return trace;
}

TEST(BenchContext, TracesTheLastRepetitionOfEveryRank) {
  KernelBaselines baselines;
  for (const std::string_view scheme : {"striped", "ulysses"}) {
    std::vector<std::string> texts(4);
    std::vector<std::int64_t> pairs(4);
    run_local_ranks(4, {.timeout_ms = 60'000}, [&](Communicator& world) {
      ContextTrace trace;
      bench_context({world, baselines, &trace}, small_case(scheme), {.repetitions = 3});
      for (const TraceEvent& event : trace.events) pairs[world.rank()] += event.pairs;
      texts[world.rank()] = trace_text(world, trace);
    });
    const ContextPlan plan = make_context_plan(scheme, small_case(scheme).problem, 4);
    const auto forward = work_of_ranks(plan, plan.forward), backward = work_of_ranks(plan, plan.backward);
    const Trace trace = read(texts[0]);
    EXPECT_NEAR(trace.first_us, 0, 1e-3);
    for (int rank = 0; rank < 4; ++rank) {
      SCOPED_TRACE(fmt::format("{}, rank {}", scheme, rank));
      EXPECT_EQ(texts[rank], texts[0]);
      EXPECT_EQ(pairs[rank], forward[rank] + backward[rank]) << "of one repetition";
      for (const TraceTrack track :
           {TraceTrack::kCompute, TraceTrack::kCopies, TraceTrack::kOperands, TraceTrack::kResults})
        EXPECT_GT(trace.events.at(rank).at(std::string(name_of(track))), 0) << name_of(track);
    }
  }
}

// Ranks that do not share a clock, for all that is known.
class Processes final : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;
  std::string_view backend() const override { return "processes"; }
};

TEST(BenchContext, TracesOfProcessesBeginAtTheirFirstEvent) {
  std::string text;
  run_local_ranks(3, {.timeout_ms = 60'000}, [&](Communicator& world) {
    Processes processes(world);
    ContextTrace trace;
    const std::int64_t second = 1'000'000'000;
    trace.events.push_back({"late", TraceTrack::kWaiting, 0, (world.rank() + 5) * second, (world.rank() + 6) * second});
    trace.events.push_back(
        {"early", TraceTrack::kWaiting, 0, (world.rank() + 2) * second, (world.rank() + 3) * second});
    const std::string mine = trace_text(processes, trace);
    if (world.rank() == 0) text = mine;
  });
  const Trace trace = read(text);
  EXPECT_EQ(trace.first_us, 0);
  EXPECT_EQ(trace.events.size(), 3u);
}

TEST(BenchContext, SaysWhereATraceCannotBeWritten) {
  testing::expect_error(ErrorKind::kEnvironment, {"/nowhere/trace.json"}, [] {
    run_local_ranks(2, {.timeout_ms = 60'000},
                    [](Communicator& world) { write_trace_file(world, {}, "/nowhere/trace.json"); });
  });
}

}  // namespace
}  // namespace longspan
