// Token strips: which stretch of the sequence lives on which rank, drawn as one thin line a row.
#pragma once

#include <string>
#include <vector>

#include "parallel/context/context_plan.h"
#include "parallel/drawing/svg_writer.h"

namespace longspan {

// The tokens of ranks rank_begin … rank_end-1 along `place`, which stands for the whole sequence. Runs of a stride are
// drawn as stripes, to scale where a token is wide enough to be seen, coarser where it is not.
void draw_tokens(const ContextPlan& plan, int rank_begin, int rank_end, const SvgBox& place, const std::string& colour,
                 SvgWriter& svg);

// Where documents meet, as fine lines from the top to the bottom of `place`; of lines that would crowd, one.
void draw_document_bounds(const ContextProblem& problem, const SvgBox& place, SvgWriter& svg);

}  // namespace longspan
