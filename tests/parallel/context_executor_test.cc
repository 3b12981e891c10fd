// ContextAttention over ranks as threads: the same result as plain attention however it is spread, in the bytes and
// the memory that the plan says, and with an error that does not grow with the number of ranks.
#include <gtest/gtest.h>

#include <map>

#include "parallel/context/rank_program.h"
#include "parallel/context/task_chunks.h"
#include "parallel/context/validator.h"
#include "tests/parallel/context_runs.h"

namespace longspan {
namespace {

using context_runs::Case;
using context_runs::Inputs;
using context_runs::Outputs;
using context_runs::RankReport;
using context_runs::Record;
using context_runs::relative_error;
using context_runs::RunResult;
using context_runs::Sink;

struct Errors {
  double out, lse, dq, dk, dv, dsink;
};
Errors errors_of(const Outputs& outputs, const Outputs& expected) {
  return {relative_error(outputs.out, expected.out), relative_error(outputs.lse, expected.lse),
          relative_error(outputs.dq, expected.dq),   relative_error(outputs.dk, expected.dk),
          relative_error(outputs.dv, expected.dv),   relative_error(outputs.dsink, expected.dsink)};
}

void expect_close(const Errors& errors, double forward, double backward) {
  EXPECT_LE(errors.out, forward);
  EXPECT_LE(errors.lse, 1e-5);
  EXPECT_LE(errors.dq, backward);
  EXPECT_LE(errors.dk, backward);
  EXPECT_LE(errors.dv, backward);
  EXPECT_LE(errors.dsink, backward);
}

void expect_as_planned(const Case& c, const ContextPlan& plan, const std::vector<RankReport>& ranks) {
  const WireDesc wire(c.desc(), c.formats);
  const auto forward = bytes_sent_by_ranks(plan, plan.forward, wire);
  const auto backward = bytes_sent_by_ranks(plan, plan.backward, wire);
  const auto work = work_of_ranks(plan, plan.forward), backward_work = work_of_ranks(plan, plan.backward);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const RankReport& report = ranks[rank];
    EXPECT_EQ(report.forward.bytes_sent, forward[rank]);
    EXPECT_EQ(report.backward.bytes_sent, backward[rank]);
    EXPECT_EQ(report.totals.bytes_sent, forward[rank] + backward[rank]);
    EXPECT_EQ(report.totals.pairs, work[rank] + backward_work[rank]);
    EXPECT_EQ(report.comm_bytes, forward[rank] + backward[rank]);
    EXPECT_EQ(report.forward.pairs, work[rank]);
    EXPECT_EQ(report.backward.pairs, backward_work[rank]);
    EXPECT_EQ(report.forward_peak, report.forward_predicted);
    EXPECT_EQ(report.backward_peak, report.backward_predicted);
  }
}

// Packed and not, windows, full masks, grouped heads, value size unlike the key size, sinks, fewer tokens than ranks.
std::vector<Case> cases() {
  return {
      {.problem = {{0, 61}, 4, 2, true, 0}},
      {.problem = {{0, 17, 17, 18, 60}, 4, 1, true, 0}, .head_dim = 8, .value_dim = 24, .sink = Sink::kLearned},
      {.problem = {{0, 23, 53}, 2, 2, true, 7}, .head_dim = 24, .value_dim = 8, .sink = Sink::kLearned},
      {.problem = {{0, 29, 64}, 4, 2, false, 0}, .num_threads = 2},
      {.problem = {{0, 40}, 2, 1, true, 1}},
      {.problem = {{0, 3}, 2, 1, true, 0}, .sink = Sink::kLearned},
      {.problem = {{0, 1, 2, 3, 4, 5, 6}, 2, 1, true, 0}},
      {.problem = {{0}, 2, 1, true, 0}},
      {.problem = {{0, 31, 62}, 4, 2, true, 0}, .dtype = DType::kBF16, .sink = Sink::kLearned},
  };
}

TEST(ContextAttention, GivesWhatPlainAttentionGives) {
  unsigned seed = 1;
  for (const Case& c : cases()) {
    const Inputs inputs = context_runs::random_inputs(c, seed++);
    const Outputs expected = context_runs::reference(c, inputs);
    for (const ContextPlanner* planner : context_planners())
      for (const int ranks : {1, 2, 3, 4, 5, 8}) {
        if (context_cases::refuses(*planner, c.problem, ranks)) continue;
        SCOPED_TRACE(context_cases::describe(planner->name(), c.problem, ranks) + " " + c.desc().describe());
        const RunResult result = context_runs::run(c, inputs, planner->name(), ranks);
        const bool rounded = c.dtype == DType::kBF16;
        expect_close(errors_of(result.outputs, expected), rounded ? 4e-3 : 1e-6, rounded ? 4e-3 : 3e-6);
        expect_as_planned(c, make_context_plan(planner->name(), c.problem, ranks), result.ranks);
        if (testing::Test::HasFailure()) return;
      }
  }
}

TEST(ContextAttention, RunsRandomBatchesAsPlanned) {
  std::mt19937 random(99);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (unsigned round = 0; round < 25; ++round) {
    Case c;
    c.problem.cu_seqlens = {0};
    for (int documents = draw(1, 4); documents > 0; --documents)
      c.problem.cu_seqlens.push_back(c.problem.cu_seqlens.back() + (draw(0, 3) == 0 ? draw(0, 2) : draw(2, 40)));
    c.problem.kv_heads = draw(1, 3);
    c.problem.heads = c.problem.kv_heads * draw(1, 4);
    c.problem.causal = draw(0, 3) > 0;
    c.problem.window = c.problem.causal ? std::max(0, draw(-20, 30)) : 0;
    c.head_dim = 8 * draw(1, 3);
    c.value_dim = 8 * draw(1, 3);
    c.sink = draw(0, 1) == 0 ? Sink::kNone : Sink::kLearned;
    const Inputs inputs = context_runs::random_inputs(c, round);
    const Outputs expected = context_runs::reference(c, inputs);
    for (const std::string_view scheme : context_scheme_names()) {
      const int ranks = draw(1, 9);
      if (scheme != kAutoScheme && context_cases::refuses(context_planner(scheme), c.problem, ranks)) continue;
      SCOPED_TRACE(context_cases::describe(scheme, c.problem, ranks) + " " + c.desc().describe());
      const RunResult result = context_runs::run(c, inputs, scheme, ranks);
      expect_close(errors_of(result.outputs, expected), 1e-6, 3e-6);
      expect_as_planned(c, make_context_plan(scheme, c.problem, ranks), result.ranks);
      if (testing::Test::HasFailure()) return;
    }
  }
}

TEST(ContextAttention, ErrorDoesNotGrowWithRanks) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const Case c{.problem = {{0, 301, 700}, 4, 2, true, 0}, .head_dim = 32, .value_dim = 32, .dtype = dtype};
    const Inputs inputs = context_runs::random_inputs(c, 77);
    const Outputs expected = context_runs::reference(c, inputs);
    for (const ContextPlanner* planner : context_planners()) {
      const Errors one = errors_of(context_runs::run(c, inputs, planner->name(), 1).outputs, expected);
      const Errors eight = errors_of(context_runs::run(c, inputs, planner->name(), 8).outputs, expected);
      SCOPED_TRACE(fmt::format("{} {}: out {:.3g} {:.3g}, dq {:.3g} {:.3g}, dk {:.3g} {:.3g}, dv {:.3g} {:.3g}",
                               planner->name(), name_of(dtype), one.out, eight.out, one.dq, eight.dq, one.dk, eight.dk,
                               one.dv, eight.dv));
      EXPECT_LE(eight.out, 1.1 * one.out);
      EXPECT_LE(eight.dq, 1.1 * one.dq);
      EXPECT_LE(eight.dk, 1.1 * one.dk);
      EXPECT_LE(eight.dv, 1.1 * one.dv);
    }
  }
}

// A number written as a byte is off by half a step at most, a step being 1/127 of its row's largest: about 0.6 % of
// what normal deviates in rows of 32 are, root mean square; as bf16, 0.17 %. Gradients are written once a hop.
TEST(ContextAttention, HopsInFewerBytesKeepTheirBound) {
  Case c{.problem = {{0, 301, 302, 302, 700}, 4, 2, true, 0}, .head_dim = 32, .value_dim = 32};
  const Inputs inputs = context_runs::random_inputs(c, 78);
  const Outputs expected = context_runs::reference(c, inputs);
  for (const auto& [format, once] : {std::pair(HopFormat::kBf16, 2e-3), std::pair(HopFormat::kInt8, 8e-3)})
    for (const std::string_view scheme : context_scheme_names())
      for (const int ranks : {2, 4, 8}) {
        if (scheme != kAutoScheme && context_cases::refuses(context_planner(scheme), c.problem, ranks)) continue;
        c.formats = {format, format};
        const RunResult run = context_runs::run(c, inputs, scheme, ranks);
        const Errors errors = errors_of(run.outputs, expected);
        SCOPED_TRACE(fmt::format("{} over {} ranks, format {}: out {:.3g}, dq {:.3g}, dk {:.3g}, dv {:.3g}", scheme,
                                 ranks, static_cast<int>(format), errors.out, errors.dq, errors.dk, errors.dv));
        EXPECT_LE(errors.out, 1.5 * once);
        EXPECT_LE(errors.dq, 3 * once);
        EXPECT_LE(errors.dk, 3 * once * std::sqrt(ranks));
        EXPECT_LE(errors.dv, 3 * once * std::sqrt(ranks));
        expect_as_planned(c, make_context_plan(scheme, c.problem, ranks), run.ranks);
      }
}

TEST(ContextAttention, RepeatsBitForBit) {
  const Case c{.problem = {{0, 50, 131}, 4, 2, true, 0}, .sink = Sink::kLearned, .num_threads = 2};
  const Inputs inputs = context_runs::random_inputs(c, 5);
  for (const ContextPlanner* planner : context_planners())
    for (const int ranks : {4, 5}) {
      if (context_cases::refuses(*planner, c.problem, ranks)) continue;
      EXPECT_EQ(context_runs::run(c, inputs, planner->name(), ranks).outputs,
                context_runs::run(c, inputs, planner->name(), ranks).outputs);
    }
}

TEST(ContextAttention, GivesTheSameBitsWithoutOverlap) {
  Case c{.problem = {{0, 50, 131}, 4, 2, true, 0}, .sink = Sink::kLearned};
  const Inputs inputs = context_runs::random_inputs(c, 6);
  for (const ContextPlanner* planner : context_planners())
    for (const int ranks : {1, 4, 5}) {
      if (context_cases::refuses(*planner, c.problem, ranks)) continue;
      c.overlap = Overlap::kUnderTasks;
      const Outputs under_tasks = context_runs::run(c, inputs, planner->name(), ranks).outputs;
      c.overlap = Overlap::kNone;
      const RunResult apart = context_runs::run(c, inputs, planner->name(), ranks);
      EXPECT_EQ(apart.outputs, under_tasks) << planner->name() << " over " << ranks;
      expect_as_planned(c, make_context_plan(planner->name(), c.problem, ranks), apart.ranks);
    }
}

// Each step's transfers end before its tasks begin where nothing overlaps.
void expect_transfers_end_before_tasks(const ContextTrace& trace) {
  for (const TraceEvent& transfer : trace.events) {
    if (transfer.track != TraceTrack::kOperands && transfer.track != TraceTrack::kResults) continue;
    for (const TraceEvent& task : trace.events) {
      if (task.track != TraceTrack::kCompute) continue;
      EXPECT_TRUE(task.begin_ns >= transfer.end_ns || task.end_ns <= transfer.begin_ns)
          << transfer.name << " under " << task.name;
    }
  }
}

TEST(ContextAttention, RecordsWhatItCountsAndNoEventBesideAnotherOfItsTrack) {
  Case c{.problem = {{0, 50, 131}, 4, 2, true, 0}, .record = Record::kTrace};
  const Inputs inputs = context_runs::random_inputs(c, 7);
  for (const Overlap overlap : {Overlap::kUnderTasks, Overlap::kNone})
    for (const ContextPlanner* planner : context_planners()) {
      c.overlap = overlap;
      for (const RankReport& report : context_runs::run(c, inputs, planner->name(), 4).ranks) {
        SCOPED_TRACE(planner->name());
        std::map<TraceTrack, std::int64_t> last_end;
        std::int64_t pairs = 0, num_bytes = 0;
        double compute_seconds = 0, exposed_seconds = 0;
        for (const TraceEvent& event : report.trace.events) {
          EXPECT_LE(event.begin_ns, event.end_ns) << event.name;
          EXPECT_GE(event.begin_ns, last_end[event.track]) << event.name << " of " << name_of(event.track);
          last_end[event.track] = event.end_ns;
          pairs += event.pairs;
          num_bytes += event.num_bytes;
          const double seconds = 1e-9 * static_cast<double>(event.end_ns - event.begin_ns);
          if (event.track == TraceTrack::kCompute) compute_seconds += seconds;
          if (event.track == TraceTrack::kWaiting) exposed_seconds += seconds;
        }
        EXPECT_EQ(pairs, report.totals.pairs);
        EXPECT_EQ(num_bytes, report.totals.bytes_sent);
        EXPECT_NEAR(compute_seconds, report.totals.compute_seconds, 1e-6);
        EXPECT_NEAR(exposed_seconds, report.totals.exposed_seconds, 1e-6);
        if (overlap == Overlap::kNone) expect_transfers_end_before_tasks(report.trace);
      }
    }
}

TEST(ContextAttention, BooksTwoSlotsOfKeysAndThreeOfGradients) {
  const AttentionDesc desc{.heads = 4, .kv_heads = 2, .head_dim = 16, .value_dim = 16, .scale = 1};
  const std::int64_t block = 8 * 2 * (16 + 16) * 4;
  for (const std::string_view scheme : {"ring", "striped"}) {
    const ContextPlan plan = make_context_plan(scheme, {{0, 64}, 4, 2, false, 0}, 8);
    for (int rank = 0; rank < 8; ++rank) {
      const RankProgram forward = compile_rank_program(plan, plan.forward, rank, desc, 1 << 20);
      EXPECT_EQ(forward.operand_slots, (Slots{block, block}));
      EXPECT_TRUE(forward.result_slots.empty());
      const RankProgram backward = compile_rank_program(plan, plan.backward, rank, desc, 1 << 20);
      EXPECT_EQ(backward.operand_slots, (Slots{block, block}));
      EXPECT_EQ(backward.result_slots, (Slots{block, block, block}));
    }
  }
}

TEST(ContextAttention, RefusesPlansItCannotRun) {
  // Right, but the keys that one task reads come in two messages.
  ContextPlan plan = make_context_plan("ring", {{0, 8}, 2, 2, true, 0}, 2);
  PlanTransfer& whole = plan.forward.transfers.at(0);
  PlanTransfer rest = whole;
  rest.range.begin = whole.range.end = 2;
  plan.forward.transfers.push_back(rest);
  ASSERT_FALSE(find_fault(plan));
  const AttentionDesc desc{.heads = 2, .kv_heads = 2, .head_dim = 8, .value_dim = 8, .scale = 1};
  try {
    compile_rank_program(plan, plan.forward, 1, desc, 1 << 20);
    FAIL() << "compiled";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("kv of tokens 0 … 3 of rank 0"), std::string::npos) << error.what();
  }
}

TEST(TaskChunks, HoldTheSamePairsInBoundedPieces) {
  const std::vector<AttentionTask> tasks = {{0, 1000, 0, 1000, 0, 3, {Band::kUnboundedLow, 0}},
                                            {7, 300, 500, 2100, 2, 4, {-50, 400}},
                                            {0, 5, 0, 5, 0, 4, {}}};
  std::vector<int> count(4 * 1000 * 2100);
  for (const AttentionTask& task : tasks)
    for (std::int64_t i = task.q_begin; i < task.q_end; ++i)
      for (std::int64_t j = task.kv_begin; j < task.kv_end; ++j) {
        const std::int64_t x = (j - task.kv_begin) - (i - task.q_begin);
        if (x < task.band.lo || x > task.band.hi) continue;
        for (std::int64_t h = task.head_begin; h < task.head_end; ++h) ++count[(h * 1000 + i) * 2100 + j];
      }
  const auto chunks = chunk_tasks(tasks, 20'000);
  EXPECT_GT(chunks.size(), 50u);
  for (const auto& chunk : chunks) {
    std::int64_t pairs = 0;
    for (const AttentionTask& task : chunk) {
      pairs += count_pairs(task);
      for (std::int64_t i = task.q_begin; i < task.q_end; ++i)
        for (std::int64_t j = task.kv_begin; j < task.kv_end; ++j) {
          const std::int64_t x = (j - task.kv_begin) - (i - task.q_begin);
          if (x < task.band.lo || x > task.band.hi) continue;
          for (std::int64_t h = task.head_begin; h < task.head_end; ++h) --count[(h * 1000 + i) * 2100 + j];
        }
    }
    EXPECT_LE(pairs, 20'000);
  }
  EXPECT_TRUE(std::all_of(count.begin(), count.end(), [](int c) { return c == 0; }));
}

}  // namespace
}  // namespace longspan
