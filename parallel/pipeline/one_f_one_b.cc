// 1F1B (Narayanan et al. 2019, PipeDream-Flush): as few forwards ahead as fill the pipeline, then one backward for each
// forward. Rank r of p holds min(p - r, m) micro-batches.
#include <algorithm>

#include "parallel/pipeline/schedule_planner.h"

namespace longspan {
namespace {

class OneFOneB final : public PipelinePlanner {
 public:
  std::string_view name() const override { return "1f1b"; }
  std::string_view summary() const override {
    return "one forward, one backward in turn; holds one micro-batch a stage";
  }
  std::optional<std::string> why_unsupported(const PipelineShape& shape) const override {
    if (shape.chunks == 1) return std::nullopt;
    return "takes one chunk a rank; set parallel.chunks to 1, or use interleaved";
  }
  PipelineSchedule plan(const PipelineShape& shape) const override {
    PipelineSchedule schedule{.name = std::string(name()),
                              .ranks = shape.ranks,
                              .micro_batches = shape.micro_batches,
                              .stage_of = stages_in(StageOrder::kLooped, shape.ranks, 1)};
    for (int r = 0; r < shape.ranks; ++r) {
      const int live = std::min(shape.ranks - r, shape.micro_batches);
      std::vector<PipelineOp> ops;
      for (int m = 0; m < live - 1; ++m) ops.push_back({PipelineOpKind::kForward, 0, m});
      for (int m = 0; m < shape.micro_batches; ++m) {
        if (m + live - 1 < shape.micro_batches) ops.push_back({PipelineOpKind::kForward, 0, m + live - 1});
        ops.push_back({PipelineOpKind::kBackward, 0, m});
      }
      schedule.ops.push_back(std::move(ops));
      schedule.live_limit.push_back(live);
    }
    return schedule;
  }
};

}  // namespace

const PipelinePlanner& one_f_one_b_planner() {
  static const OneFOneB planner;
  return planner;
}

}  // namespace longspan
