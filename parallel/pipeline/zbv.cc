// ZB-V (Qi et al. 2024): two chunks a rank, folded, so that the rank with the first stage has the last one too and
// backwards begin early everywhere. Made by running it: in unit time each idle rank takes, of what is ready, first the
// input gradient of the deepest stage, then a forward of the deepest chunk while it may hold more, then a weight
// gradient.
#include <algorithm>
#include <array>

#include "kernels/core/error.h"
#include "parallel/pipeline/schedule_planner.h"

namespace longspan {
namespace {

constexpr int kChunks = 2;

// Unit-time run of the rule above.
class FoldedRun {
 public:
  FoldedRun(const PipelineShape& shape, PipelineSchedule& schedule)
      : shape_(shape),
        schedule_(schedule),
        progress_(static_cast<std::size_t>(shape.ranks)),
        forwards_done_(static_cast<std::size_t>(shape.ranks * kChunks)),
        gradients_done_(static_cast<std::size_t>(shape.ranks * kChunks)) {}

  void run() {
    const int total = 3 * shape_.micro_batches * kChunks * shape_.ranks;
    for (int done = 0; done < total;) {
      // What is begun in a tick can be used by others in the next.
      std::vector<PipelineOp> begun(static_cast<std::size_t>(shape_.ranks));
      std::vector<int> begin_ranks;
      for (int r = 0; r < shape_.ranks; ++r)
        if (const auto op = choose(r)) {
          begun[static_cast<std::size_t>(r)] = *op;
          begin_ranks.push_back(r);
        }
      LS_CHECK(!begin_ranks.empty(), "zbv of {} ranks, {} micro-batches stands still", shape_.ranks,
               shape_.micro_batches);
      for (const int r : begin_ranks) finish(r, begun[static_cast<std::size_t>(r)]);
      done += static_cast<int>(begin_ranks.size());
    }
  }

 private:
  struct Progress {
    std::array<int, kChunks> forwards{}, gradients{}, weights{};
    int live = 0;
  };

  int stage(int rank, int chunk) const {
    return schedule_.stage_of[static_cast<std::size_t>(rank)][static_cast<std::size_t>(chunk)];
  }

  std::optional<PipelineOp> choose(int rank) const {
    const Progress& mine = progress_[static_cast<std::size_t>(rank)];
    const int last_stage = shape_.ranks * kChunks - 1;
    for (int c = kChunks - 1; c >= 0; --c) {
      const auto chunk = static_cast<std::size_t>(c), s = static_cast<std::size_t>(stage(rank, c));
      const int m = mine.gradients[chunk];
      const bool from_above = stage(rank, c) == last_stage || (m < shape_.micro_batches && gradients_done_[s + 1] > m);
      if (m < mine.forwards[chunk] && from_above) return PipelineOp{PipelineOpKind::kInputGradient, c, m};
    }
    for (int c = kChunks - 1; c >= 0; --c) {
      const auto chunk = static_cast<std::size_t>(c), s = static_cast<std::size_t>(stage(rank, c));
      const int m = mine.forwards[chunk];
      if (m < shape_.micro_batches && mine.live < schedule_.live_limit[static_cast<std::size_t>(rank)] &&
          (s == 0 || forwards_done_[s - 1] > m))
        return PipelineOp{PipelineOpKind::kForward, c, m};
    }
    for (int c = kChunks - 1; c >= 0; --c) {
      const auto chunk = static_cast<std::size_t>(c);
      if (mine.weights[chunk] < mine.gradients[chunk])
        return PipelineOp{PipelineOpKind::kWeightGradient, c, mine.weights[chunk]};
    }
    return std::nullopt;
  }

  void finish(int rank, const PipelineOp& op) {
    Progress& mine = progress_[static_cast<std::size_t>(rank)];
    const auto chunk = static_cast<std::size_t>(op.chunk), s = static_cast<std::size_t>(stage(rank, op.chunk));
    schedule_.ops[static_cast<std::size_t>(rank)].push_back(op);
    if (op.kind == PipelineOpKind::kForward) {
      forwards_done_[s] = ++mine.forwards[chunk];
      ++mine.live;
    } else if (op.kind == PipelineOpKind::kInputGradient) {
      gradients_done_[s] = ++mine.gradients[chunk];
    } else {
      ++mine.weights[chunk];
      --mine.live;
    }
  }

  const PipelineShape& shape_;
  PipelineSchedule& schedule_;
  std::vector<Progress> progress_;
  std::vector<int> forwards_done_, gradients_done_;  // by stage
};

class Zbv final : public PipelinePlanner {
 public:
  std::string_view name() const override { return "zbv"; }
  std::string_view summary() const override {
    return "two folded chunks a rank, weight gradients as filler; 1f1b's memory";
  }
  int usual_chunks() const override { return kChunks; }
  std::optional<std::string> why_unsupported(const PipelineShape& shape) const override {
    if (shape.chunks == kChunks) return std::nullopt;
    return "takes two chunks a rank; set parallel.chunks to 2";
  }
  PipelineSchedule plan(const PipelineShape& shape) const override {
    const auto ranks = static_cast<std::size_t>(shape.ranks);
    PipelineSchedule schedule{.name = std::string(name()),
                              .ranks = shape.ranks,
                              .chunks = kChunks,
                              .micro_batches = shape.micro_batches,
                              .stage_of = stages_in(StageOrder::kFolded, shape.ranks, kChunks),
                              .ops = std::vector<std::vector<PipelineOp>>(ranks),
                              .live_limit = std::vector(ranks, kChunks * std::min(shape.ranks, shape.micro_batches))};
    FoldedRun(shape, schedule).run();
    return schedule;
  }
};

}  // namespace

const PipelinePlanner& zbv_planner() {
  static const Zbv planner;
  return planner;
}

}  // namespace longspan
