// Plan comparison: every scheme's plans of one problem side by side, as a table for people.
#pragma once

#include <string>

#include "parallel/context/context_plan.h"
#include "parallel/context/context_site.h"

namespace longspan {

enum class TableStyle : std::uint8_t { kText, kMarkdown };

// A line for each scheme that context_planners() lists: bytes a rank sends in each direction (mean, most), busiest rank
// over mean work forward (in all, step by step), peak of a rank's buffers in either direction, and predicted
// milliseconds of both directions at the site, with how many of them no computation hides. A scheme that refuses the
// problem says why instead. Every plan in the table is proved right. Lines end with a newline.
// Throws Error(kUsage) for a problem that makes no sense.
std::string compare_plans(const ContextProblem& problem, const ContextSite& site, TableStyle style);

}  // namespace longspan
