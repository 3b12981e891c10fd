// Step drawing: a forecast as a picture, and as a timeline file.
#pragma once

#include <string>

#include "trainer/forecast/step_forecast.h"

namespace longspan {

// SVG: a row a place in the pipeline, with what its context and data groups do alike; below each row the sums of its
// gradients, behind it the optimizer and the weights on their way back.
std::string draw_step(const StepForecast& step);

// JSON for Perfetto (ui.perfetto.dev) and chrome://tracing: a process for each place in the pipeline, a track for what
// it computes and one for sums and gathers. Times are in microseconds.
std::string trace_step(const StepForecast& step);

}  // namespace longspan
