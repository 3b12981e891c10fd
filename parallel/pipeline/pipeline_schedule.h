// PipelineSchedule: in which order each rank of a pipeline works through its micro-batches. A plain value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace longspan {

// The model is cut into ranks x chunks stages in order of depth. A backward pass is done whole (kBackward), or its two
// halves apart: the gradient of the stage's input, which the stage below waits for, and those of its weights, for which
// nobody waits.
enum class PipelineOpKind : std::uint8_t { kForward, kBackward, kInputGradient, kWeightGradient };
// 'F', 'B', 'I', 'W': as in schedule files.
char letter_of(PipelineOpKind kind);

struct PipelineOp {
  PipelineOpKind kind = PipelineOpKind::kForward;
  int chunk = 0;
  int micro_batch = 0;
  bool operator==(const PipelineOp&) const = default;
};
// "F3", of several chunks "F3 of chunk 1".
std::string describe(const PipelineOp& op, int chunks);

struct PipelineSchedule {
  std::string name;  // the planner's
  int ranks = 1, chunks = 1, micro_batches = 1;
  std::vector<std::vector<int>> stage_of{};    // [rank][chunk]
  std::vector<std::vector<PipelineOp>> ops{};  // [rank], in order
  // [rank]: forwards of one chunk whose activations a rank may hold at once, from the forward to the end of the
  // backward (of the weights' half, where it stands apart).
  std::vector<int> live_limit{};
  int num_stages() const { return ranks * chunks; }
  bool operator==(const PipelineSchedule&) const = default;
};

// Who runs a stage.
struct StagePlace {
  int rank = 0, chunk = 0;
};
std::vector<StagePlace> places_of_stages(const PipelineSchedule& schedule);

// The most forwards of one chunk that a rank holds at once; and of this chunk alone.
int peak_live(const PipelineSchedule& schedule, int rank);
int peak_live(const PipelineSchedule& schedule, int rank, int chunk);

// Whether a rank does some backward of this chunk in halves.
bool has_halves(const PipelineSchedule& schedule, int rank, int chunk);

// The same stages with so many forwards alone, as in validation: a micro-batch through all of a rank's chunks, then the
// next.
PipelineSchedule forwards_alone(const PipelineSchedule& schedule, int micro_batches);

// Ranks of a chunk in order of depth, chunk after chunk (kLooped); or the second chunk in the reverse order, so that
// the rank with the first stage has the last one too (kFolded; two chunks).
enum class StageOrder : std::uint8_t { kLooped, kFolded };
std::vector<std::vector<int>> stages_in(StageOrder order, int ranks, int chunks);

}  // namespace longspan
