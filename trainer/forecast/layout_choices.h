// Layout choices: every way to spread an experiment over a world that leaves what is trained as it is.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "trainer/config/config.h"
#include "trainer/loop/parallel_layout.h"

namespace longspan {

struct LayoutChoice {
  MeshShape mesh;
  std::string schedule = "1f1b";
  int chunks = 1;
  std::int64_t micro_batches = 1;  // of a data rank, a step
  std::string context_scheme{};
  Recompute recompute = Recompute::kNone;
  std::int64_t recompute_layers = -1;
  std::int64_t zero = 0;
  bool operator==(const LayoutChoice&) const = default;
};

// Reasons against layouts in words, with how many each of them rules out.
using Refusals = std::map<std::string, std::int64_t>;

// Choices of everything but the context scheme, which is the config's; of gpipe none, for 1f1b takes as long and holds
// less; of micro-batches of very many sequences over hundreds of context ranks none either, for planning them takes
// long. What does not fit batch, depth, schedule or the config's other keys is counted in `refused`: a mesh or a
// pipeline that fits nothing as one.
std::vector<LayoutChoice> layout_choices(const Config& config, int world, Refusals& refused);

// The config with this layout; stages even by FLOPs.
Config with_layout(const Config& config, const LayoutChoice& choice);
// The layout of that config, but for the order of the schedule's operations, which is left empty.
ParallelLayout outline_of(const Config& config, const LayoutChoice& choice);
// The keys that a choice sets, as YAML: a config by itself, or to be pasted into one.
std::string to_yaml(const LayoutChoice& choice);
// Whether a planner's schedules do backwards in halves, and which stages it gives to whom.
struct ScheduleOutline {
  std::vector<std::vector<int>> stage_of;
  BackwardKind backward = BackwardKind::kWhole;
  std::vector<std::vector<int>> live;  // [rank][chunk]: forwards that are held at once where there are as many
};
ScheduleOutline outline_of(const std::string& schedule, int ranks, int chunks);

}  // namespace longspan
