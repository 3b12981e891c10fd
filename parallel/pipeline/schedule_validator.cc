#include "parallel/pipeline/schedule_validator.h"

#include <fmt/format.h>

#include <vector>

#include "parallel/pipeline/timeline.h"

namespace longspan {
namespace {

using Fault = std::optional<std::string>;

Fault find_shape_fault(const PipelineSchedule& s) {
  if (s.ranks < 1 || s.chunks < 1 || s.micro_batches < 1)
    return fmt::format("{} ranks, {} chunks, {} micro-batches: there is at least one of each", s.ranks, s.chunks,
                       s.micro_batches);
  const auto ranks = static_cast<std::size_t>(s.ranks);
  if (s.ops.size() != ranks || s.stage_of.size() != ranks || s.live_limit.size() != ranks)
    return fmt::format("{} lists of operations, {} of stages, {} limits for {} ranks", s.ops.size(), s.stage_of.size(),
                       s.live_limit.size(), ranks);
  std::vector<int> owners(static_cast<std::size_t>(s.num_stages()), -1);
  for (int r = 0; r < s.ranks; ++r) {
    const std::vector<int>& stages = s.stage_of[static_cast<std::size_t>(r)];
    if (static_cast<int>(stages.size()) != s.chunks)
      return fmt::format("rank {} has {} stages, others {}", r, stages.size(), s.chunks);
    for (const int stage : stages) {
      if (stage < 0 || stage >= s.num_stages())
        return fmt::format("rank {} has stage {} of {}", r, stage, s.num_stages());
      int& owner = owners[static_cast<std::size_t>(stage)];
      if (owner >= 0) return fmt::format("stage {} is both rank {}'s and rank {}'s", stage, owner, r);
      owner = r;
    }
  }
  return std::nullopt;
}

// What a rank has done of one chunk and micro-batch.
struct Done {
  bool forward = false, input_gradient = false, weight_gradient = false;
};

// One rank's list taken by itself: everything once, nothing before what it needs, no more held than it may.
class RankProof {
 public:
  RankProof(const PipelineSchedule& schedule, int rank)
      : s_(schedule),
        rank_(rank),
        done_(static_cast<std::size_t>(schedule.chunks) * static_cast<std::size_t>(schedule.micro_batches)) {}

  Fault find_fault() {
    for (const PipelineOp& op : s_.ops[static_cast<std::size_t>(rank_)])
      if (Fault fault = take(op)) return fault;
    for (int c = 0; c < s_.chunks; ++c)
      for (int m = 0; m < s_.micro_batches; ++m)
        if (Fault fault = find_missing(c, m)) return fault;
    return std::nullopt;
  }

 private:
  Done& at(int chunk, int micro_batch) {
    return done_[static_cast<std::size_t>(chunk) * static_cast<std::size_t>(s_.micro_batches) +
                 static_cast<std::size_t>(micro_batch)];
  }
  std::string say(const PipelineOp& op, std::string_view what) const {
    return fmt::format("rank {}: {} {}", rank_, describe(op, s_.chunks), what);
  }

  Fault take(const PipelineOp& op) {
    if (op.chunk < 0 || op.chunk >= s_.chunks || op.micro_batch < 0 || op.micro_batch >= s_.micro_batches)
      return say(op,
                 fmt::format("is of no chunk (of {}) or micro-batch (of {}) there is", s_.chunks, s_.micro_batches));
    Done& done = at(op.chunk, op.micro_batch);
    switch (op.kind) {
      case PipelineOpKind::kForward:
        if (done.forward) return say(op, "comes twice");
        done.forward = true;
        if (++live_ > s_.live_limit[static_cast<std::size_t>(rank_)])
          return say(op, fmt::format("is one forward more than the {} that may be held",
                                     s_.live_limit[static_cast<std::size_t>(rank_)]));
        return std::nullopt;
      case PipelineOpKind::kBackward:
      case PipelineOpKind::kInputGradient:
        if (!done.forward) return say(op, "comes before its forward");
        if (done.input_gradient) return say(op, "comes twice");
        done.input_gradient = true;
        if (op.kind == PipelineOpKind::kInputGradient) return std::nullopt;
        done.weight_gradient = true;
        --live_;
        return std::nullopt;
      case PipelineOpKind::kWeightGradient:
        if (!done.input_gradient) return say(op, "comes before its input gradient");
        if (done.weight_gradient) return say(op, "comes twice");
        done.weight_gradient = true;
        --live_;
        return std::nullopt;
    }
    return say(op, "is of no known kind");
  }

  Fault find_missing(int chunk, int micro_batch) {
    const Done& done = at(chunk, micro_batch);
    if (!done.forward) return say({PipelineOpKind::kForward, chunk, micro_batch}, "is missing");
    if (!done.input_gradient) return say({PipelineOpKind::kBackward, chunk, micro_batch}, "is missing");
    if (!done.weight_gradient) return say({PipelineOpKind::kWeightGradient, chunk, micro_batch}, "is missing");
    return std::nullopt;
  }

  const PipelineSchedule& s_;
  const int rank_;
  int live_ = 0;
  std::vector<Done> done_;
};

// Whether all ranks get to their ends when each waits for what it needs of the others.
Fault find_wait_cycle(const PipelineSchedule& s) {
  const Timeline timeline = time_of(s, unit_costs(s));
  if (timeline.is_complete) return std::nullopt;
  std::string waiting;
  for (int r = 0; r < s.ranks; ++r) {
    const auto& ops = s.ops[static_cast<std::size_t>(r)];
    const std::size_t done = timeline.spans[static_cast<std::size_t>(r)].size();
    if (done < ops.size())
      waiting += fmt::format("{}rank {} at {}", waiting.empty() ? "" : ", ", r, describe(ops[done], s.chunks));
  }
  return "these wait for each other for ever: " + waiting;
}

}  // namespace

Fault find_fault(const PipelineSchedule& schedule) {
  if (Fault fault = find_shape_fault(schedule)) return fault;
  for (int r = 0; r < schedule.ranks; ++r)
    if (Fault fault = RankProof(schedule, r).find_fault()) return fault;
  return find_wait_cycle(schedule);
}

}  // namespace longspan
