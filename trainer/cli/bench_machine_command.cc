// longspan bench machine: measures what `longspan plan` needs to forecast a step, and keeps it in a file.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <string>

#include "trainer/check/bench_machine.h"
#include "trainer/cli/commands.h"
#include "trainer/forecast/machine_file.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"
#include "trainer/loop/run_plan.h"

namespace longspan {
namespace {

struct MachineBenchArguments {
  MachineBenchOptions machine;
  int ranks = 0, threads = 0;
  std::string precision = "fp32", device = "cpu", out;
};

void print_rate(const std::string& what, double rate, std::string_view unit) {
  if (unit == "s")
    fmt::print("{:<32} {:>12.2f} µs\n", what, 1e6 * rate);
  else
    fmt::print("{:<32} {:>12.2f} G{}\n", what, 1e-9 * rate, unit);
  std::fflush(stdout);
}

int run(const MachineBenchArguments& arguments) {
  return run_ranks(arguments.ranks, {}, [&](Communicator& world) {
    MachineBenchOptions options = arguments.machine;
    const RankDevice device(choose_device(arguments.device), place_of(world));
    options.dtype = arguments.precision == "bf16" ? DType::kBF16 : DType::kF32;
    options.threads = threads_per_rank(arguments.threads, world);
    options.ranks_per_node = ranks_of_each_host(world);
    const Machine machine = bench_machine(world, device, options, print_rate);
    if (world.rank() != 0) return;
    fmt::print("{}: {}\n", machine.name, machine.source);
    if (arguments.out.empty()) {
      fmt::print("{}", to_json(machine));
      return;
    }
    write_machine_file(machine, arguments.out);
    fmt::print("written to {}; use it with longspan plan --machine {}\n", arguments.out, arguments.out);
  });
}

}  // namespace

void add_bench_machine_command(CLI::App& bench, Action& action) {
  CLI::App* command = bench.add_subcommand(
      "machine", "What each rank computes and sends a second while all do, for the forecasts of longspan plan");
  auto arguments = std::make_shared<MachineBenchArguments>();
  MachineBenchOptions& options = arguments->machine;
  command->add_option("--ranks", arguments->ranks, "Ranks that compute at once, as threads (under MPI: its ranks)")
      ->check(CLI::Range(1, 1024));
  command->add_option("--threads", arguments->threads, "OpenMP threads a rank; 0: cores / ranks")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--out", arguments->out, "Write the machine file here; else it is printed");
  command->add_option("--precision", arguments->precision, "fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--device", arguments->device, "cpu, cuda, or auto: a GPU where there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--tokens", options.tokens, "Rows of operands: about those that a rank has of a micro-batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--widths", options.widths, "Widths of projections, ascending, comma-separated")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--head-dims", options.head_dims, "Head sizes, ascending, comma-separated")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--vocab", options.vocab, "Columns of the output head")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--seconds", options.seconds, "That each operator is kept busy for, three times")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace longspan
