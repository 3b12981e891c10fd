// longspan bench kernels: times a transformer's operators beside a large copy and a large product on the same device.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "trainer/check/bench_kernels.h"
#include "trainer/check/build_info.h"
#include "trainer/cli/commands.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"

namespace longspan {
namespace {

struct KernelBenchArguments {
  KernelBenchOptions kernels;
  int threads = 0;
  std::string precision = "fp32", device = "cpu";
  bool json = false;
};

std::string json_line(const KernelBenchOptions& options, const KernelBenchRow& row) {
  return nlohmann::ordered_json{
      {"bench", "kernels"},
      {"commit", build_commit()},
      {"machine", machine_name()},
      {"device", options.runtime->name()},
      {"precision", name_of(options.dtype)},
      {"threads", options.threads},
      {"tokens", options.tokens},
      {"hidden", options.hidden},
      {"ffn", options.ffn},
      {"heads", options.heads},
      {"vocab", options.vocab},
      {"repetitions", options.repetitions},
      {"op", row.op},
      {"bytes", row.work.bytes},
      {"flops", row.work.flops},
      {"ms", row.ms},
      {"best_ms", row.best_ms},
      {"gb_per_s", row.gb_per_s},
      {"tflops", row.tflops},
      {"of_floor", row.of_floor},
  }
      .dump();
}

int run(const KernelBenchArguments& arguments) {
  KernelBenchOptions options = arguments.kernels;
  const RankDevice device(choose_device(arguments.device), {});
  options.runtime = &device.runtime();
  options.dtype = arguments.precision == "bf16" ? DType::kBF16 : DType::kF32;
  options.threads =
      arguments.threads > 0 ? arguments.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (!arguments.json) {
    fmt::print("{} tokens, hidden {}, ffn {}, vocab {}, {}, {} threads; median of {} runs; {}, {}\n", options.tokens,
               options.hidden, options.ffn, options.vocab, arguments.precision, options.threads, options.repetitions,
               options.runtime->name(), machine_name());
    fmt::print("{:<20} {:>10} {:>10} {:>10} {:>10}\n", "operator", "ms", "GB/s", "TFLOP/s", "of floor");
  }
  bench_kernels(
      options,
      [&](const KernelBenchRow& row) {
        if (arguments.json)
          fmt::print("{}\n", json_line(options, row));
        else
          fmt::print("{:<20} {:>10.3f} {:>10.1f} {:>10.3f} {:>10.2f}\n", row.op, row.ms, row.gb_per_s, row.tflops,
                     row.of_floor);
        std::fflush(stdout);
      },
      [&](const std::string& op, const std::string& why) {
        if (arguments.json)
          fmt::print("{}\n", nlohmann::ordered_json{{"bench", "kernels"}, {"op", op}, {"refusal", why}}.dump());
        else
          fmt::print("{:<20} refused: {}\n", op, why);
      });
  return kExitOk;
}

}  // namespace

void add_bench_kernels_command(CLI::App& bench, Action& action) {
  CLI::App* command =
      bench.add_subcommand("kernels", "A layer's operators beside a large copy and a large matrix product");
  auto arguments = std::make_shared<KernelBenchArguments>();
  KernelBenchOptions& options = arguments->kernels;
  const auto add_size = [&](const char* name, auto& value, const char* meaning) {
    command->add_option(name, value, meaning)->check(CLI::PositiveNumber)->capture_default_str();
  };
  add_size("--tokens", options.tokens, "Rows of activations");
  add_size("--hidden", options.hidden, "Their width");
  add_size("--ffn", options.ffn, "Width of the feed-forward block");
  add_size("--heads", options.heads, "Heads that the width is cut into");
  add_size("--vocab", options.vocab, "Rows of the embedding; times the width: weights of the optimiser's step");
  add_size("--repetitions", options.repetitions, "Timed runs; the median counts");
  command->add_option("--matrix-size", options.matrix_size, "Of the square product; 0: 1024 on CPUs, 8192 on GPUs")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--precision", arguments->precision, "fp32 or bf16, of activations")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--device", arguments->device, "cpu, cuda, or auto: a GPU where there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--threads", arguments->threads, "OpenMP threads; 0: all cores")->check(CLI::NonNegativeNumber);
  command->add_flag("--json", arguments->json, "One JSON line an operator instead of a table");
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace longspan
