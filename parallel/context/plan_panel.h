// Plan panels: each direction of a plan as a grid of ranks (rows) and steps (columns), for drawings.
#pragma once

#include <string>
#include <string_view>

#include "parallel/context/plan_cells.h"
#include "parallel/drawing/svg_writer.h"

namespace longspan {

// Up to so many ranks and steps stand one by one, each rank with a colour of its own; what is larger is drawn as at
// most kMostLots x kMostLots shaded cells.
inline constexpr int kMostOneByOne = 16, kMostLots = 32;

// The colour of a rank among at most kMostOneByOne; and that of all ranks where there are more.
std::string_view colour_of_rank(int rank);
inline constexpr std::string_view kColourOfMany = "#2f6fb5";

// Forward, and below it backward, with everything that belongs to each, from (x, y) down. Returns where it has drawn.
SvgBox draw_panels(const ContextPlan& plan, const WireDesc& desc, double x, double y, SvgWriter& svg);

// Whether both directions of a plan are drawn one by one, and so what a legend has to explain.
bool is_drawn_one_by_one(const ContextPlan& plan);
// The arrow heads that panels refer to.
std::string panel_definitions();

}  // namespace longspan
