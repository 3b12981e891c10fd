// Timeline drawing: a timeline as an SVG picture, a row a rank, a box an operation with its micro-batch's number.
#pragma once

#include <string>
#include <vector>

#include "parallel/pipeline/timeline.h"

namespace longspan {

enum class TimelineUnit : std::uint8_t {
  kForwards,  // of a rank: costs are those of unit_costs()
  kSeconds,
};

// Something beside the schedule's operations that a rank does, or that goes on in its background.
struct TimelineExtra {
  enum class Place : std::uint8_t { kRow, kUnderRow };
  int rank = 0;
  Place place = Place::kRow;
  std::string name;  // "gradients", "optimizer": each name has a colour and a place in the legend
  double begin = 0, end = 0;
};

struct TimelineDrawing {
  std::string title{}, subtitle{};  // empty: what the schedule is; how long it takes and how much of that is idle
  TimelineUnit unit = TimelineUnit::kForwards;
  std::vector<TimelineExtra> extras{};
  std::vector<std::string> row_names{};  // one a rank; empty: "rank 0" …
};

// A whole file. Boxes are as wide as what they show takes; their chunks are shades of one colour, the first the
// darkest. What is not computed is grey. Boxes too narrow for their numbers, as those of many micro-batches, have none,
// and tell no more under the mouse where there are thousands.
std::string draw_timeline(const PipelineSchedule& schedule, const Timeline& timeline, const TimelineDrawing& drawing);

}  // namespace longspan
