// longspan: one program, one command each file beside this one.
#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <new>

#include "trainer/cli/commands.h"
#include "trainer/launch/launch.h"

namespace {

using namespace longspan;

int report(const std::string& message, int code) {
  std::fflush(stdout);
  fmt::print(stderr, "longspan: error: {}\n", message);
  return code;
}

int run(const Action& action) {
  try {
    return action();
  } catch (const Error& error) {
    return report(error.what(), exit_code_of(error.kind()));
  } catch (const std::bad_alloc&) {
    return report("out of memory: use a shorter sequence, more ranks or a smaller model", kExitMemory);
  } catch (const std::exception& error) {
    return report(error.what(), kExitInternal);
  }
}

}  // namespace

int main(int argc, char** argv) {
  // A GPU's streams share as many queues as this says when it is first used; in a queue a message that is waited for
  // would hold up whatever comes behind it. A rank of a pipeline has about a dozen streams; the default is 8.
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
  CLI::App app{"Trains language models on very long documents.", "longspan"};
  app.set_version_flag("--version", "longspan " LONGSPAN_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 a check failed, 2 usage or config, 3 not supported, 4 data, 5 memory, 6 another rank "
      "failed,\n7 environment, 70 a defect of longspan.");
  Action action;
  add_train_command(app, action);
  add_plan_command(app, action);
  add_schedule_command(app, action);
  add_generate_command(app, action);
  add_data_command(app, action);
  add_inspect_command(app, action);
  add_config_command(app, action);
  add_check_command(app, action);
  add_bench_command(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return run(action);
}
