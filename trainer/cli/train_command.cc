// longspan train: runs an experiment, or goes on with it.
#include <memory>

#include "kernels/core/log.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/console.h"
#include "trainer/cli/overrides.h"
#include "trainer/cli/stop_signals.h"
#include "trainer/config/config.h"
#include "trainer/launch/launch.h"
#include "trainer/loop/trainer.h"

namespace longspan {
namespace {

struct TrainOptions {
  std::string config;
  int ranks = 0;
};

int run_train(const TrainOptions& options, const std::vector<Override>& overrides) {
  const Config config = load_config(options.config, overrides);
  Console console;
  send_log_to(console, config.log.ops ? ShowOps::kYes : ShowOps::kNo);
  catch_stop_signals();
  const TrainerHooks hooks{
      .print = [&console](const std::string& text) { console.print(text); },
      .progress = [&console](std::int64_t step, std::int64_t total) { console.progress(step, total); },
      .stop_requested = stop_signal_received};
  const CommOptions comm{.timeout_ms = static_cast<std::int64_t>(config.run.timeout_s * 1000)};
  const int code = run_ranks(options.ranks, comm, [&](Communicator& world) { train(config, world, hooks); });
  set_log_sink(nullptr);
  return code;
}

}  // namespace

void add_train_command(CLI::App& app, Action& action) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app.add_subcommand("train", "Train as a config says; run again to resume");
  command->add_option("CONFIG", options->config, "YAML file of the experiment")->required();
  command->add_option("--ranks", options->ranks, "Ranks as threads of this process; under mpirun the launcher decides")
      ->check(CLI::Range(1, 4096));
  command->allow_extras();
  command->footer(
      "Any key of the config can be overridden as --section.key=value.\n"
      "SIGTERM, SIGUSR1 and SIGINT save a checkpoint and leave with code 0 after the step under way.");
  command->callback([command, options, &action] {
    action = [options, words = command->remaining()] { return run_train(*options, parse_overrides(words)); };
  });
}

}  // namespace longspan
