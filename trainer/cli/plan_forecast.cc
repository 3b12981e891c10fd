#include "trainer/cli/plan_forecast.h"

#include <fmt/format.h>

#include <chrono>
#include <fstream>

#include "trainer/forecast/layout_search.h"
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

// An eight-GPU server where nothing else is said.
constexpr int kChipsOfANode = 8;
int node_size(const Config& config, const ForecastOptions& options) {
  if (config.parallel.ranks_per_node > 0) return static_cast<int>(config.parallel.ranks_per_node);
  return options.chip.empty() ? 0 : kChipsOfANode;
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
  command.add_flag("--search", options.search,
                   "Only the best layouts of so many ranks, by forecast, and the first as a part of a config");
  command
      .add_option("--memory", options.memory_gib,
                  "With --search: GiB that a rank may need; else the memory of the GPU, where that is known")
      ->check(CLI::PositiveNumber);
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

void print_search(const Config& config, int world, int num_threads, Device device,
                  const std::vector<std::int64_t>& documents, const ForecastOptions& options) {
  const Machine machine = machine_of(options);
  const double memory = options.memory_gib > 0 ? options.memory_gib * kGib : machine.memory;
  const SearchRequest request{
      .world = world, .place = {node_size(config, options), num_threads, device, documents}, .memory_bytes = memory};
  const auto start = std::chrono::steady_clock::now();
  const SearchResult result = search_layouts(config, machine, request);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{} ranks, {} a node, {} a rank, searched in {:.1f} s\nby {}: {}\n\n{}", world,
             request.place.ranks_per_node == 0 ? "all on one" : std::to_string(request.place.ranks_per_node),
             memory > 0 ? fmt::format("at most {:.1f} GiB", memory / kGib) : std::string("any memory"), seconds,
             machine.name, machine.source, describe(result));
  LS_REQUIRE(
      kMemory, !result.best.empty(),
      "no layout of {} ranks fits; use more ranks, --memory with more, run.precision bf16, or a shorter sequence",
      world);
  fmt::print("\n# The first as a part of a config: in place of the keys it has, or as overrides.\n{}",
             to_yaml(result.best.front().choice));
}

void print_forecast(const Config& config, const RunPlan& run, const std::vector<std::int64_t>& documents,
                    const ForecastOptions& options) {
  if (!options.wanted()) return;
  const Machine machine = machine_of(options);
  StepForecaster forecaster(config, machine, {node_size(config, options), run.num_threads, run.device, documents});
  const StepForecast step = forecaster.forecast(config, run.layout);
  fmt::print("{}", describe(step, machine));
  print_memory(memory_by_place(config, run));
  if (!options.timeline.empty()) write_plan_file(options.timeline, draw_step(step), "timeline");
  if (!options.trace.empty()) write_plan_file(options.trace, trace_step(step), "trace");
}

}  // namespace longspan
