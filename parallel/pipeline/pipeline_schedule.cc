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

int peak_live(const PipelineSchedule& schedule, int rank) {
  int live = 0, peak = 0;
  for (const PipelineOp& op : schedule.ops[static_cast<std::size_t>(rank)]) {
    if (op.kind == PipelineOpKind::kForward) peak = std::max(peak, ++live);
    if (op.kind == PipelineOpKind::kBackward || op.kind == PipelineOpKind::kWeightGradient) --live;
  }
  return peak;
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
