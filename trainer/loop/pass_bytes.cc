#include "trainer/loop/pass_bytes.h"

#include <algorithm>

#include "models/model.h"
#include "trainer/loop/local_batch.h"
#include "trainer/loop/precision.h"

namespace longspan {

std::int64_t total_kept(std::span<const PassBytes::Pool> pools) {
  std::int64_t total = 0;
  for (const PassBytes::Pool& pool : pools) total += pool.passes * pool.kept;
  return total;
}

PassBytes pass_bytes(const Config& config, const ParallelLayout& layout, int pipeline_rank, std::int64_t tokens,
                     Device device) {
  const ModelConfig& model = config.model;
  const DType precision = precision_of(config.run);
  const std::int64_t batch = device == Device::kCpu ? 0 : LocalBatch::device_bytes(tokens);
  const std::vector<StageSpan> stages = layout.stages_of(pipeline_rank);
  PassBytes bytes;
  PassBytes::Pool shared{.passes = peak_live(layout.schedule, pipeline_rank)};
  for (int c = 0; c < static_cast<int>(stages.size()); ++c) {
    const StageSpan& stage = stages[static_cast<std::size_t>(c)];
    std::vector<BackwardKind> kinds{BackwardKind::kWhole};
    if (has_halves(layout.schedule, pipeline_rank, c)) kinds.push_back(BackwardKind::kHalves);
    PassBytes::Pool& own = bytes.pools.emplace_back();
    own.passes = peak_live(layout.schedule, pipeline_rank, c);
    for (const BackwardKind kind : kinds) {
      own.kept = std::max(own.kept, batch + kept_bytes(model, stage, precision, tokens, kind));
      bytes.transient = std::max(bytes.transient, transient_bytes(model, stage, precision, tokens, kind));
    }
    // Validation takes whichever arena is larger.
    const std::int64_t evaluation = batch + evaluation_bytes(model, stage, precision, tokens);
    if (evaluation > own.kept) bytes.transient = std::max(bytes.transient, evaluation);
    shared.kept = std::max(shared.kept, own.kept);
    bytes.pool_of.push_back(c);
  }
  if (total_kept({&shared, 1}) < total_kept(bytes.pools)) {
    bytes.pools = {shared};
    std::fill(bytes.pool_of.begin(), bytes.pool_of.end(), 0);
  }
  bytes.hand_overs = layout.hand_overs[static_cast<std::size_t>(pipeline_rank)];
  bytes.hand_over = tokens * model.hidden * size_of(precision);
  return bytes;
}

}  // namespace longspan
