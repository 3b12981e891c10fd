#include "trainer/loop/pass_bytes.h"

#include <algorithm>

#include "models/model.h"
#include "parallel/pipeline/stage_traffic.h"
#include "trainer/loop/local_batch.h"
#include "trainer/loop/precision.h"

namespace longspan {

std::int64_t total_kept(const PassBytes& bytes) {
  std::int64_t total = 0;
  for (const PassBytes::Chunk& chunk : bytes.chunks) total += chunk.passes * chunk.kept;
  return total;
}

std::int64_t validation_sequences_each(const Config& config, const ParallelLayout& layout) {
  return (config.data.validation_sequences + layout.mesh.data - 1) / layout.mesh.data;
}

PassBytes pass_bytes(const Config& config, const ParallelLayout& layout, int pipeline_rank, std::int64_t tokens,
                     Device device) {
  const ModelConfig& model = config.model;
  const DType precision = precision_of(config.run);
  const std::int64_t batch = device == Device::kCpu ? 0 : LocalBatch::device_bytes(tokens);
  const std::vector<StageSpan> stages = layout.stages_of(pipeline_rank);
  PassBytes bytes;
  for (int c = 0; c < static_cast<int>(stages.size()); ++c) {
    const StageSpan& stage = stages[static_cast<std::size_t>(c)];
    std::vector<BackwardKind> kinds{BackwardKind::kWhole};
    if (has_halves(layout.schedule, pipeline_rank, c)) kinds.push_back(BackwardKind::kHalves);
    PassBytes::Chunk& chunk = bytes.chunks.emplace_back();
    chunk.passes = peak_live(layout.schedule, pipeline_rank, c);
    for (const BackwardKind kind : kinds) {
      chunk.kept = std::max(chunk.kept, batch + kept_bytes(model, stage, precision, tokens, kind));
      bytes.transient = std::max(bytes.transient, transient_bytes(model, stage, precision, tokens, kind));
    }
    // Validation takes whichever arena is larger.
    const std::int64_t evaluation = batch + evaluation_bytes(model, stage, precision, tokens);
    if (evaluation > chunk.kept) bytes.transient = std::max(bytes.transient, evaluation);
  }
  const auto buffers_of = [&](const PipelineSchedule& schedule) {
    return plan_traffic(schedule).buffers[static_cast<std::size_t>(pipeline_rank)];
  };
  const auto sequences = static_cast<int>(validation_sequences_each(config, layout));
  bytes.hand_overs = std::max(buffers_of(layout.schedule), buffers_of(forwards_alone(layout.schedule, sequences)));
  bytes.hand_over = tokens * model.hidden * size_of(precision);
  return bytes;
}

}  // namespace longspan
