#include "parallel/pipeline/pipeline_schedule.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace longspan {

char letter_of(PipelineOpKind kind) {
  switch (kind) {
    case PipelineOpKind::kForward: return 'F';
    case PipelineOpKind::kBackward: return 'B';
    case PipelineOpKind::kInputGradient: return 'I';
    case PipelineOpKind::kWeightGradient: return 'W';
  }
  return '?';
}

std::string describe(const PipelineOp& op, int chunks) {
  std::string text = fmt::format("{}{}", letter_of(op.kind), op.micro_batch);
  if (chunks > 1) text += fmt::format(" of chunk {}", op.chunk);
  return text;
}

std::vector<StagePlace> places_of_stages(const PipelineSchedule& schedule) {
  std::vector<StagePlace> places(static_cast<std::size_t>(schedule.num_stages()));
  for (int r = 0; r < schedule.ranks; ++r)
    for (int c = 0; c < schedule.chunks; ++c)
      places[static_cast<std::size_t>(schedule.stage_of[static_cast<std::size_t>(r)][static_cast<std::size_t>(c)])] = {
          r, c};
  return places;
}

namespace {

// Over the operations that count.
template <class Counts>
int peak_live_where(const PipelineSchedule& schedule, int rank, const Counts& counts) {
  int live = 0, peak = 0;
  for (const PipelineOp& op : schedule.ops[static_cast<std::size_t>(rank)]) {
    if (!counts(op)) continue;
    if (op.kind == PipelineOpKind::kForward) peak = std::max(peak, ++live);
    if (op.kind == PipelineOpKind::kBackward || op.kind == PipelineOpKind::kWeightGradient) --live;
  }
  return peak;
}

}  // namespace

int peak_live(const PipelineSchedule& schedule, int rank) {
  return peak_live_where(schedule, rank, [](const PipelineOp&) { return true; });
}

int peak_live(const PipelineSchedule& schedule, int rank, int chunk) {
  return peak_live_where(schedule, rank, [&](const PipelineOp& op) { return op.chunk == chunk; });
}

bool has_halves(const PipelineSchedule& schedule, int rank, int chunk) {
  const std::vector<PipelineOp>& ops = schedule.ops[static_cast<std::size_t>(rank)];
  return std::any_of(ops.begin(), ops.end(), [&](const PipelineOp& op) {
    return op.chunk == chunk && op.kind == PipelineOpKind::kWeightGradient;
  });
}

PipelineSchedule forwards_alone(const PipelineSchedule& schedule, int micro_batches) {
  PipelineSchedule alone{.name = "forwards alone",
                         .ranks = schedule.ranks,
                         .chunks = schedule.chunks,
                         .micro_batches = micro_batches,
                         .stage_of = schedule.stage_of};
  std::vector<PipelineOp> ops;
  for (int m = 0; m < micro_batches; ++m)
    for (int c = 0; c < schedule.chunks; ++c) ops.push_back({PipelineOpKind::kForward, c, m});
  alone.ops.assign(static_cast<std::size_t>(schedule.ranks), ops);
  alone.live_limit.assign(static_cast<std::size_t>(schedule.ranks), 1);
  return alone;
}

std::vector<std::vector<int>> stages_in(StageOrder order, int ranks, int chunks) {
  LS_CHECK(order == StageOrder::kLooped || chunks == 2, "a fold of {} chunks", chunks);
  std::vector<std::vector<int>> stage_of(static_cast<std::size_t>(ranks));
  for (int r = 0; r < ranks; ++r)
    for (int c = 0; c < chunks; ++c)
      stage_of[static_cast<std::size_t>(r)].push_back(order == StageOrder::kFolded && c == 1 ? 2 * ranks - 1 - r
                                                                                             : c * ranks + r);
  return stage_of;
}

}  // namespace longspan
