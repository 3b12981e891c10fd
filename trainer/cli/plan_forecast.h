// What `longspan plan` says about time: on which machine, drawn where, searched how.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

#include "trainer/loop/run_plan.h"

namespace longspan {

struct ForecastOptions {
  std::string machine, chip, timeline, trace;
  double efficiency = 0;  // 0: as machine.h has it
  bool search = false;
  double memory_gib = 0;  // 0: that of the chip or GPU that was measured
  bool wanted() const { return !machine.empty() || !chip.empty(); }
};

void add_forecast_options(CLI::App& command, ForecastOptions& options);
// Throws Error(kUsage) where an option needs a machine and none is named.
void check_forecast_options(const ForecastOptions& options);

// The best layouts of so many ranks, and the first of them as YAML; nothing else is printed.
void print_search(const Config& config, int world, int num_threads, Device device,
                  const std::vector<std::int64_t>& documents, const ForecastOptions& options);

// Prints the forecast and the memory of each place in the pipeline; writes what was asked for.
void print_forecast(const Config& config, const RunPlan& run, const std::vector<std::int64_t>& documents,
                    const ForecastOptions& options);

// Where nothing can be written: Error(kEnvironment).
void write_plan_file(const std::string& path, std::string_view text, std::string_view what);

}  // namespace longspan
