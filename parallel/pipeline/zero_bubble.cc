// ZB-H1 (Qi et al. 2023, section 3): 1F1B with each backward in two halves. The half that the stage below waits for
// goes first; the weights' half of rank r comes r micro-batches later, which is where 1F1B would stand idle, and keeps
// no rank above the ranks' number of micro-batches, 1F1B's greatest.
#include <algorithm>

#include "parallel/pipeline/schedule_planner.h"

namespace longspan {
namespace {

class ZeroBubble final : public PipelinePlanner {
 public:
  std::string_view name() const override { return "zero_bubble"; }
  std::string_view summary() const override { return "1f1b with weight gradients as filler (ZB-H1); 1f1b's memory"; }
  std::optional<std::string> why_unsupported(const PipelineShape& shape) const override {
    if (shape.chunks == 1) return std::nullopt;
    return "takes one chunk a rank; set parallel.chunks to 1, or use zbv";
  }
  PipelineSchedule plan(const PipelineShape& shape) const override {
    PipelineSchedule schedule{.name = std::string(name()),
                              .ranks = shape.ranks,
                              .micro_batches = shape.micro_batches,
                              .stage_of = stages_in(StageOrder::kLooped, shape.ranks, 1)};
    for (int r = 0; r < shape.ranks; ++r) {
      const int ahead = std::min(shape.ranks - r - 1, shape.micro_batches);
      std::vector<PipelineOp> ops;
      for (int m = 0; m < ahead; ++m) ops.push_back({PipelineOpKind::kForward, 0, m});
      for (int m = 0; m < shape.micro_batches; ++m) {
        if (m + ahead < shape.micro_batches) ops.push_back({PipelineOpKind::kForward, 0, m + ahead});
        ops.push_back({PipelineOpKind::kInputGradient, 0, m});
        if (m >= r) ops.push_back({PipelineOpKind::kWeightGradient, 0, m - r});
      }
      for (int m = std::max(0, shape.micro_batches - r); m < shape.micro_batches; ++m)
        ops.push_back({PipelineOpKind::kWeightGradient, 0, m});
      schedule.ops.push_back(std::move(ops));
      schedule.live_limit.push_back(std::min(shape.ranks, shape.micro_batches));
    }
    return schedule;
  }
};

}  // namespace

const PipelinePlanner& zero_bubble_planner() {
  static const ZeroBubble planner;
  return planner;
}

}  // namespace longspan
