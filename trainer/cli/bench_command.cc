// longspan bench: times what this build does on this machine; a file for each thing that can be timed.
#include "trainer/cli/commands.h"

namespace longspan {

void add_bench_command(CLI::App& app, Action& action) {
  CLI::App* bench = app.add_subcommand("bench", "Time parts of this build on this machine");
  bench->require_subcommand(1);
  add_bench_attention_command(*bench, action);
  add_bench_context_command(*bench, action);
  add_bench_kernels_command(*bench, action);
  add_bench_machine_command(*bench, action);
}

}  // namespace longspan
