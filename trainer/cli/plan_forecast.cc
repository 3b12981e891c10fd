#include "trainer/cli/plan_forecast.h"

#include <fmt/format.h>

#include <fstream>

#include "trainer/forecast/machine_file.h"
#include "trainer/forecast/step_drawing.h"
#include "trainer/forecast/step_forecast.h"

namespace longspan {
namespace {

constexpr double kGib = 1024.0 * 1024.0 * 1024.0;

Machine machine_of(const ForecastOptions& options) {
  if (!options.machine.empty()) return read_machine_file(options.machine);
  ChipEfficiency efficiency;
  if (options.efficiency > 0) {
    const double times = options.efficiency / efficiency.products;
    efficiency.products *= times;
    efficiency.attention_forward *= times;
    efficiency.attention_backward *= times;
  }
  return machine_of_chip(options.chip, efficiency);
}

// A rank of each place in the pipeline: the first of its replicas, which alone writes checkpoints.
std::vector<MemoryBudget> memory_by_place(const Config& config, const RunPlan& run) {
  HostRanks ranks{run.layout, {}, run.num_threads, run.ranks_per_node, run.device};
  for (int place = 0; place < run.layout.mesh.pipeline; ++place)
    ranks.ranks.push_back(run.layout.mesh.rank_of({.pipeline = place}));
  return predict_memory(config, ranks);
}

void print_memory(const std::vector<MemoryBudget>& budgets) {
  fmt::print("  memory          ");
  for (std::size_t place = 0; place < budgets.size(); ++place)
    fmt::print("{}{:.2f}", place == 0 ? "" : ", ", static_cast<double>(budgets[place].total()) / kGib);
  fmt::print(" GiB of a rank{}\n", budgets.size() == 1 ? "" : ", by place in the pipeline");
}

}  // namespace

void write_plan_file(const std::string& path, std::string_view text, std::string_view what) {
  std::ofstream file(path, std::ios::trunc);
  file << text << std::flush;
  LS_REQUIRE(kEnvironment, file, "{}: cannot write the {} there; is the folder there, and has it room?", path, what);
  fmt::print("\n{} written to {}\n", what, path);
}

void add_forecast_options(CLI::App& command, ForecastOptions& options) {
  CLI::Option* machine = command.add_option("--machine", options.machine,
                                            "Forecast a step on this machine, a file of longspan bench machine --out");
  CLI::Option* chip =
      command.add_option("--chip", options.chip, fmt::format("Forecast by a GPU's datasheet: {}", chip_names()))
          ->excludes(machine);
  command
      .add_option("--efficiency", options.efficiency,
                  "With --chip: share of its operations a second that large products are taken to reach [0.6]")
      ->check(CLI::Range(0.01, 1.0))
      ->needs(chip);
  command.add_option("--timeline", options.timeline, "Draw the forecast to this file (SVG)");
  command.add_option("--trace", options.trace, "Write it for ui.perfetto.dev or chrome://tracing (JSON)");
}

void check_forecast_options(const ForecastOptions& options) {
  if (options.wanted()) return;
  const auto needs = [](bool given, std::string_view option) {
    LS_REQUIRE(kUsage, !given,
               "{} needs to know the machine: give --machine FILE (longspan bench machine --out FILE "
               "measures this one) or --chip with one of {}",
               option, chip_names());
  };
  needs(!options.timeline.empty(), "--timeline");
  needs(!options.trace.empty(), "--trace");
  needs(options.search, "--search");
}

void print_forecast(const Config& config, const RunPlan& run, const std::vector<std::int64_t>& documents,
                    const ForecastOptions& options) {
  if (!options.wanted()) return;
  const Machine machine = machine_of(options);
  StepForecaster forecaster(config, machine, {run.ranks_per_node, run.num_threads, documents});
  const StepForecast step = forecaster.forecast(config, run.layout);
  fmt::print("{}", describe(step, machine));
  print_memory(memory_by_place(config, run));
  if (!options.timeline.empty()) write_plan_file(options.timeline, draw_step(step), "timeline");
  if (!options.trace.empty()) write_plan_file(options.trace, trace_step(step), "trace");
}

}  // namespace longspan
