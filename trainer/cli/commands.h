// The program's commands: each file adds one subcommand and leaves what is to run in `action`.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace longspan {

// Runs the chosen command; returns its exit code (see trainer/launch/launch.h). May throw longspan::Error.
using Action = std::function<int()>;

void add_train_command(CLI::App& app, Action& action);
void add_data_command(CLI::App& app, Action& action);
void add_check_command(CLI::App& app, Action& action);
void add_plan_command(CLI::App& app, Action& action);
void add_schedule_command(CLI::App& app, Action& action);
void add_config_command(CLI::App& app, Action& action);
void add_inspect_command(CLI::App& app, Action& action);
void add_generate_command(CLI::App& app, Action& action);
void add_bench_command(CLI::App& app, Action& action);

// A command of `longspan data` that has a file of its own.
void add_data_balance_command(CLI::App& data, Action& action);

// What can be timed: commands of `longspan bench`.
void add_bench_attention_command(CLI::App& bench, Action& action);
void add_bench_context_command(CLI::App& bench, Action& action);
void add_bench_kernels_command(CLI::App& bench, Action& action);
void add_bench_machine_command(CLI::App& bench, Action& action);

}  // namespace longspan
