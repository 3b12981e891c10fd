// longspan schedule: what a pipeline schedule does in unit time, without a model: idle time, what ranks hold, a
// picture.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "parallel/pipeline/schedule_file.h"
#include "parallel/pipeline/schedule_planner.h"
#include "parallel/pipeline/timeline_drawing.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/plan_forecast.h"
#include "trainer/io/text_file.h"
#include "trainer/launch/launch.h"

namespace longspan {
namespace {

struct ScheduleOptions {
  std::string name, timeline, csv;
  PipelineShape shape{.ranks = 4, .micro_batches = 8, .chunks = 0};  // chunks 0: as the schedule is usually run
  std::vector<double> costs = {1, 1, 1};
  double transfer = 0;
};

PipelineSchedule schedule_of(const ScheduleOptions& options) {
  if (options.name.ends_with(".csv")) return schedule_from_csv(read_text_file(options.name), options.name);
  PipelineShape shape = options.shape;
  if (shape.chunks == 0) shape.chunks = pipeline_planner(options.name).usual_chunks();
  return make_pipeline_schedule(options.name, shape);
}

PipelineCosts costs_of(const PipelineSchedule& schedule, const ScheduleOptions& options) {
  PipelineCosts costs = unit_costs(schedule);
  for (StageCost& stage : costs.stages) {
    stage.forward *= options.costs[0];
    stage.input_gradient *= options.costs[1];
    stage.weight_gradient *= options.costs[2];
  }
  costs.transfer = options.transfer;
  return costs;
}

int run(const ScheduleOptions& options) {
  const PipelineSchedule schedule = schedule_of(options);
  const Timeline timeline = time_of(schedule, costs_of(schedule, options));
  fmt::print("{}: {} rank(s), {} micro-batch(es), {} chunk(s) a rank\n", schedule.name, schedule.ranks,
             schedule.micro_batches, schedule.chunks);
  fmt::print("a step takes {:.4g} forwards of a rank; {:.1f} % of that is idle in the mean\n", timeline.end,
             100 * timeline.bubble());
  fmt::print("{:<8} {:>8} {:>8}  {}\n", "rank", "idle", "holds", "stages");
  for (int rank = 0; rank < schedule.ranks; ++rank)
    fmt::print("{:<8} {:>6.1f} % {:>8}  {}\n", rank, 100 * (1 - timeline.busy_of(rank) / timeline.end),
               peak_live(schedule, rank), fmt::join(schedule.stage_of[static_cast<std::size_t>(rank)], ", "));
  if (!options.csv.empty()) write_plan_file(options.csv, to_csv(schedule), "schedule");
  if (!options.timeline.empty()) write_plan_file(options.timeline, draw_timeline(schedule, timeline, {}), "timeline");
  return kExitOk;
}

}  // namespace

void add_schedule_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<ScheduleOptions>();
  CLI::App* command = app.add_subcommand("schedule", "Show a pipeline schedule in unit time");
  std::vector<std::string_view> names;
  for (const PipelinePlanner* planner : pipeline_planners()) names.push_back(planner->name());
  command
      ->add_option("NAME", options->name,
                   fmt::format("One of {}, or a schedule file that ends with .csv", fmt::join(names, ", ")))
      ->required();
  command->add_option("--ranks", options->shape.ranks, "Ranks of the pipeline")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--micro-batches", options->shape.micro_batches, "That go through it in a step")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--chunks", options->shape.chunks, "Stages of a rank; 0: as the schedule is usually run")
      ->check(CLI::Range(0, 64));
  command
      ->add_option("--costs", options->costs,
                   "What a rank takes forward, for the gradients of its input, and for those of its weights [1,1,1]")
      ->delimiter(',')
      ->expected(3)
      ->check(CLI::NonNegativeNumber);
  command->add_option("--transfer", options->transfer, "What a message between two ranks takes [0]")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--timeline", options->timeline, "Draw it to this file (SVG)");
  command->add_option("--csv", options->csv, "Write it to this schedule file");
  command->callback([options, &action] { action = [options] { return run(*options); }; });
}

}  // namespace longspan
