// Interleaved 1F1B (Narayanan et al. 2021, section 2.2): each rank has several chunks of the model, so that filling the
// pipeline takes only a chunk's time a rank. Micro-batches go in groups of as many as there are ranks, each group
// through all chunks before the next.
#include <fmt/format.h>

#include <algorithm>

#include "parallel/pipeline/schedule_planner.h"

namespace longspan {
namespace {

// The k-th forward of a rank; the k-th backward visits the chunks in reverse.
PipelineOp forward_at(const PipelineShape& shape, int k) {
  const int group_ops = shape.ranks * shape.chunks;
  const int group = k / group_ops, in_group = k % group_ops;
  return {PipelineOpKind::kForward, in_group / shape.ranks, group * shape.ranks + in_group % shape.ranks};
}
PipelineOp backward_at(const PipelineShape& shape, int k) {
  PipelineOp op = forward_at(shape, k);
  op.kind = PipelineOpKind::kBackward;
  op.chunk = shape.chunks - 1 - op.chunk;
  return op;
}

class Interleaved final : public PipelinePlanner {
 public:
  std::string_view name() const override { return "interleaved"; }
  std::string_view summary() const override {
    return "1f1b over several chunks a rank: a shorter bubble, more messages";
  }
  int usual_chunks() const override { return 2; }
  std::optional<std::string> why_unsupported(const PipelineShape& shape) const override {
    if (shape.micro_batches % shape.ranks == 0) return std::nullopt;
    return fmt::format("needs micro-batches in groups of {} (parallel.pipeline), not {}; use {} of them, or 1f1b",
                       shape.ranks, shape.micro_batches, (shape.micro_batches / shape.ranks + 1) * shape.ranks);
  }
  PipelineSchedule plan(const PipelineShape& shape) const override {
    PipelineSchedule schedule{.name = std::string(name()),
                              .ranks = shape.ranks,
                              .chunks = shape.chunks,
                              .micro_batches = shape.micro_batches,
                              .stage_of = stages_in(StageOrder::kLooped, shape.ranks, shape.chunks)};
    const int total = shape.micro_batches * shape.chunks;
    for (int r = 0; r < shape.ranks; ++r) {
      // Until the first backward comes back from the last chunk of the last rank. One chunk: 1F1B's.
      const int to_fill =
          shape.chunks == 1 ? shape.ranks - r - 1 : 2 * (shape.ranks - r - 1) + (shape.chunks - 1) * shape.ranks;
      const int ahead = std::min(to_fill, total);
      std::vector<PipelineOp> ops;
      for (int k = 0; k < ahead; ++k) ops.push_back(forward_at(shape, k));
      for (int k = 0; k < total; ++k) {
        if (k + ahead < total) ops.push_back(forward_at(shape, k + ahead));
        ops.push_back(backward_at(shape, k));
      }
      schedule.ops.push_back(std::move(ops));
      schedule.live_limit.push_back(std::min(ahead + 1, total));
    }
    return schedule;
  }
};

}  // namespace

const PipelinePlanner& interleaved_planner() {
  static const Interleaved planner;
  return planner;
}

}  // namespace longspan
