// longspan plan: layout, transfers and memory of an experiment on any number of ranks; runs nothing.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>

#include "parallel/context/plan_comparison.h"
#include "parallel/context/plan_drawing.h"
#include "parallel/context/plan_json.h"
#include "parallel/context/plan_report.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/overrides.h"
#include "trainer/cli/plan_forecast.h"
#include "trainer/config/config.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"
#include "trainer/loop/attention_set.h"
#include "trainer/loop/precision.h"
#include "trainer/loop/run_plan.h"

namespace longspan {
namespace {

struct PlanOptions {
  std::string config, emit, draw, compare;
  ForecastOptions forecast;
  std::vector<std::int64_t> documents;
  int world = 1;
};

// Documents one after another, as offsets.
std::vector<std::int64_t> offsets_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> offsets{0};
  for (const std::int64_t length : lengths) offsets.push_back(offsets.back() + length);
  return offsets;
}

// Where pattern[i] stands the first time: layers of equal attention have equal plans.
bool is_first_of_its_kind(const std::vector<AttentionKind>& pattern, std::size_t i) {
  return std::find(pattern.begin(), pattern.end(), pattern[i]) - pattern.begin() == static_cast<std::ptrdiff_t>(i);
}

// Nothing runs, so a GPU that is asked for need not be here.
Device planned_device(const Config& config) {
  return config.run.device == "cuda" ? Device::kCuda : choose_device(config.run.device).device;
}

WireDesc wire_desc(const Config& config, const AttentionKind& kind) {
  return {attention_desc(config.model, kind, precision_of(config.run), Device::kCpu), hop_formats(config.parallel)};
}

void print_plans(const Config& config, const std::vector<std::shared_ptr<const ContextPlan>>& plans) {
  const std::vector<AttentionKind>& pattern = config.model.pattern;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!is_first_of_its_kind(pattern, i)) continue;
    fmt::print("\nattention {}, causal {}, window {}\n{}", pattern[i].kind, pattern[i].causal, pattern[i].window,
               describe_plan(*plans[i], wire_desc(config, pattern[i])));
  }
}

// All schemes for each kind of attention, and nothing else: the config's own scheme need not suit this number of ranks.
int print_comparison(const Config& config, const PlanOptions& options, const std::vector<std::int64_t>& documents) {
  const MeshShape mesh = resolve_layout(config, options.world).mesh;
  const ContextSite site =
      context_site(config, mesh, static_cast<int>(config.parallel.ranks_per_node), planned_device(config));
  const TableStyle style = options.compare == "markdown" ? TableStyle::kMarkdown : TableStyle::kText;
  const std::vector<AttentionKind>& pattern = config.model.pattern;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!is_first_of_its_kind(pattern, i)) continue;
    fmt::print("{}attention {}, causal {}, window {}; {} ranks, documents {}\n\n{}", i == 0 ? "" : "\n",
               pattern[i].kind, pattern[i].causal, pattern[i].window, mesh.context, fmt::join(documents, ", "),
               compare_plans(attention_problem(config.model, pattern[i], offsets_of(documents)), site, style));
  }
  return kExitOk;
}

int run_plan(const PlanOptions& options, const std::vector<Override>& overrides) {
  check_forecast_options(options.forecast);
  const Config config = load_config(options.config, overrides);
  const std::vector<std::int64_t> documents =
      options.documents.empty() ? std::vector{config.data.sequence_length} : options.documents;
  if (!options.compare.empty()) return print_comparison(config, options, documents);
  const int threads = static_cast<int>(std::max<std::int64_t>(1, config.run.threads));
  if (options.forecast.search) {
    print_search(config, options.world, threads, planned_device(config), documents, options.forecast);
    return kExitOk;
  }
  const RunPlan run = make_run_plan(config, options.world, 0, threads, 0, planned_device(config));
  std::string why;
  const auto start = std::chrono::steady_clock::now();
  const auto plans = plan_pattern(config.model, run.place(config), offsets_of(documents), &why);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  fmt::print("{}documents         {}\n", describe(config, run), fmt::join(documents, ", "));
  print_forecast(config, run, documents, options.forecast);
  fmt::print("attention         planned and proved in {:.3f} s\n{}", seconds, why);
  print_plans(config, plans);
  const ContextPlan& first = *plans.front();
  if (!options.emit.empty()) write_plan_file(options.emit, to_json(first), "plan of layer 0");
  const WireDesc desc = wire_desc(config, config.model.pattern.front());
  if (!options.draw.empty()) write_plan_file(options.draw, draw_plan(first, desc), "picture of layer 0");
  return kExitOk;
}

}  // namespace

void add_plan_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand("plan", "Show layout, work, bytes and memory on any number of ranks");
  command->add_option("CONFIG", options->config, "YAML file of the experiment")->required();
  command->add_option("--world,--ranks", options->world, "Ranks to plan for; none of them is started")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command
      ->add_option("--documents", options->documents,
                   "Lengths of the documents of one sequence, as in 700,1,0,3000; else one of data.sequence_length")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber);
  CLI::Option* emit = command->add_option("--emit", options->emit,
                                          "Write the plan of layer 0 to this file (longspan-context-plan, JSON)");
  CLI::Option* draw =
      command->add_option("--draw", options->draw, "Write a picture of the plan of layer 0 to this file (SVG)");
  command
      ->add_flag("--compare{text}", options->compare,
                 "Only a table of what every scheme would send, wait for and hold; --compare=markdown for documents")
      ->check(CLI::IsMember({"text", "markdown"}))
      ->excludes(emit, draw);
  add_forecast_options(*command, options->forecast);
  command->allow_extras();
  command->callback([command, options, &action] {
    action = [options, words = command->remaining()] { return run_plan(*options, parse_overrides(words)); };
  });
}

}  // namespace longspan
