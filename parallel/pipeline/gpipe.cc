// All forwards, then all backwards (Huang et al. 2019): every micro-batch's activations are held at once.
#include "parallel/pipeline/schedule_planner.h"

namespace longspan {
namespace {

class GPipe final : public PipelinePlanner {
 public:
  std::string_view name() const override { return "gpipe"; }
  std::string_view summary() const override { return "all forwards, then all backwards; holds every micro-batch"; }
  std::optional<std::string> why_unsupported(const PipelineShape& shape) const override {
    if (shape.chunks == 1) return std::nullopt;
    return "takes one chunk a rank; set parallel.chunks to 1, or use interleaved";
  }
  PipelineSchedule plan(const PipelineShape& shape) const override {
    std::vector<PipelineOp> ops;
    for (const PipelineOpKind kind : {PipelineOpKind::kForward, PipelineOpKind::kBackward})
      for (int m = 0; m < shape.micro_batches; ++m) ops.push_back({kind, 0, m});
    const auto ranks = static_cast<std::size_t>(shape.ranks);
    return {.name = std::string(name()),
            .ranks = shape.ranks,
            .micro_batches = shape.micro_batches,
            .stage_of = stages_in(StageOrder::kLooped, shape.ranks, 1),
            .ops = std::vector(ranks, ops),
            .live_limit = std::vector(ranks, shape.micro_batches)};
  }
};

}  // namespace

const PipelinePlanner& gpipe_planner() {
  static const GPipe planner;
  return planner;
}

}  // namespace longspan
