#include "trainer/forecast/replica_sum.h"

#include <algorithm>

#include "kernels/core/error.h"

namespace longspan {

double scatter_seconds(const Replicas& replicas, const Machine& machine, double num_bytes) {
  if (replicas.ranks <= 1) return 0;
  const int node = replicas.ranks_per_node > 0 ? std::min(replicas.ranks, replicas.ranks_per_node) : replicas.ranks;
  const double each = num_bytes / replicas.ranks;
  const double near = each * (node - 1) / machine.node.reduced_bytes_per_second;
  const double far = each * (replicas.ranks - node) / machine.network.reduced_bytes_per_second;
  const Link& slowest = node < replicas.ranks ? machine.network : machine.node;
  return std::max(near, far) + slowest.seconds_per_message;
}

Stretch sum_in_buckets(const std::vector<Timeline::Span>& spans, const BucketPlan& plan) {
  LS_CHECK(plan.buckets >= 1 && !spans.empty(), "{} buckets behind {} operations", plan.buckets, spans.size());
  const double last_end = spans.back().end;
  if (plan.seconds <= 0) return {last_end, last_end};
  if (plan.overlap == TransferOverlap::kOnCore) return {last_end, last_end + plan.seconds};

  // The last operation that completes weights' gradients, of each chunk, in order of time.
  std::vector<Timeline::Span> last;
  for (std::size_t chunk = 0; chunk < plan.shares.size(); ++chunk) {
    const auto found = std::find_if(spans.rbegin(), spans.rend(), [&](const Timeline::Span& span) {
      const bool completes =
          span.op.kind == PipelineOpKind::kBackward || span.op.kind == PipelineOpKind::kWeightGradient;
      return completes && span.op.chunk == static_cast<int>(chunk);
    });
    LS_CHECK(found != spans.rend(), "chunk {} has no backward", chunk);
    last.push_back(*found);
  }
  std::sort(last.begin(), last.end(), [](const auto& a, const auto& b) { return a.end < b.end; });

  // Walks the gradients in order of their completion: bucket after bucket ends in one of the chunks.
  Stretch sum{-1, 0};
  double before = 0;  // share of the chunks that are complete
  std::int64_t done = 0;
  for (const Timeline::Span& span : last) {
    const double share = plan.shares[static_cast<std::size_t>(span.op.chunk)];
    for (; done < plan.buckets; ++done) {
      const double until = static_cast<double>(done + 1) / static_cast<double>(plan.buckets);
      if (until > before + share + 1e-12) break;
      const double part = share > 0 ? std::clamp((until - before) / share, 0.0, 1.0) : 1;
      const double ready = span.begin + part * (span.end - span.begin);
      const double begin = std::max(sum.end, ready);
      if (sum.begin < 0) sum.begin = begin;
      sum.end = begin + plan.seconds / static_cast<double>(plan.buckets);
    }
    before += share;
  }
  LS_CHECK(done == plan.buckets, "{} of {} buckets are complete: the shares do not add up to 1", done, plan.buckets);
  return sum;
}

}  // namespace longspan
