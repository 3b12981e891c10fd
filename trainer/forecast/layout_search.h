// Layout search: of all ways to spread an experiment over a world, those with the shortest forecast step that fit the
// memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/forecast/layout_choices.h"
#include "trainer/forecast/step_forecast.h"

namespace longspan {

struct SearchRequest {
  int world = 1;
  ForecastPlace place;
  double memory_bytes = 0;  // of a rank; 0: no limit
  std::size_t keep = 10;
  // Context schemes that are gone into for each number of ranks: those whose attention of one sequence takes least; but
  // for ulysses with more ranks than heads, and for all_gather and two_d with more than 256.
  std::size_t schemes = 2;
};

struct FoundLayout {
  LayoutChoice choice;
  StepForecast step;              // without its timeline
  std::int64_t memory_bytes = 0;  // of the rank that needs most
};

struct SearchResult {
  std::vector<FoundLayout> best;  // by time, then by memory
  std::int64_t num_layouts = 0;   // that fit batch, depth and schedule, whatever the context scheme
  std::int64_t num_forecast = 0;  // forecast whole, each with a scheme
  std::int64_t num_slower = 0;    // of the layouts: ruled out by what they take at least
  Refusals refused;
};

// Exact: the same as forecasting every choice with each of the schemes gone into. The order of the work makes it
// quick: choices by what they take at least, memory before time.
SearchResult search_layouts(const Config& config, const Machine& machine, const SearchRequest& request);

// A table for people, one line a layout; what was tried and refused.
std::string describe(const SearchResult& result);

}  // namespace longspan
