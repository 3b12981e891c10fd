// longspan bench attention: times core attention of one rank beside the matrix product it is made of.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "trainer/check/bench_attention.h"
#include "trainer/check/build_info.h"
#include "trainer/cli/commands.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"

namespace longspan {
namespace {

struct AttentionBenchArguments {
  AttentionBenchOptions attention;
  int threads = 0;
  std::int64_t value_dim = 0;
  std::string precision = "fp32", spread = "equal", device = "cpu";
  bool json = false;
};

std::string json_line(const AttentionBenchRow& row) {
  const AttentionBenchOptions& options = row.options;
  return nlohmann::ordered_json{
      {"bench", "attention"},
      {"commit", build_commit()},
      {"machine", machine_name()},
      {"device", options.runtime->name()},
      {"op", row.op},
      {"precision", name_of(options.dtype)},
      {"threads", options.threads},
      {"heads", options.heads},
      {"kv_heads", options.kv_heads},
      {"head_dim", options.head_dim},
      {"value_dim", options.value_dim},
      {"tokens", row.tokens},
      {"documents", options.documents},
      {"spread", options.spread == DocumentSpread::kMixed ? "mixed" : "equal"},
      {"pairs", row.pairs},
      {"repetitions", options.repetitions},
      {"forward_ms", row.forward_ms},
      {"backward_ms", row.backward_ms},
      {"best_forward_ms", row.best_forward_ms},
      {"best_backward_ms", row.best_backward_ms},
      {"op_forward_ms", row.op_forward_ms},
      {"op_backward_ms", row.op_backward_ms},
      {"forward_gflops", row.forward_gflops},
      {"backward_gflops", row.backward_gflops},
      {"best_forward_gflops", row.best_forward_gflops},
      {"best_backward_gflops", row.best_backward_gflops},
      {"matmul_gflops", row.matmul_gflops},
      {"best_matmul_gflops", row.best_matmul_gflops},
      {"peak_bytes", row.peak_bytes},
  }
      .dump();
}

std::string table_line(const AttentionBenchRow& row) {
  return fmt::format("{:>9} {:>12.2f} {:>12.2f} {:>10.1f} {:>10.1f} {:>10.1f} {:>10.2f} {:>10.2f} {:>10.1f}",
                     row.tokens, row.forward_ms, row.backward_ms, row.forward_gflops, row.backward_gflops,
                     row.matmul_gflops, row.forward_gflops / row.matmul_gflops, row.backward_gflops / row.matmul_gflops,
                     static_cast<double>(row.peak_bytes) / (1 << 20));
}

int run(const AttentionBenchArguments& arguments) {
  AttentionBenchOptions options = arguments.attention;
  const RankDevice device(choose_device(arguments.device), {});
  options.runtime = &device.runtime();
  options.value_dim = arguments.value_dim > 0 ? arguments.value_dim : options.head_dim;
  options.dtype = arguments.precision == "bf16" ? DType::kBF16 : DType::kF32;
  options.threads =
      arguments.threads > 0 ? arguments.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.spread = arguments.spread == "mixed" ? DocumentSpread::kMixed : DocumentSpread::kEqual;
  LS_REQUIRE(kUsage, options.heads % options.kv_heads == 0, "--heads {} is no multiple of --kv-heads {}", options.heads,
             options.kv_heads);
  if (!arguments.json) {
    fmt::print("causal attention, {} heads ({} kv) of {}, {}, {} threads; median of {} runs; {}, {}\n", options.heads,
               options.kv_heads, options.head_dim, arguments.precision, options.threads, options.repetitions,
               device.name(), machine_name());
    fmt::print("{:>9} {:>12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "tokens", "forward ms", "backward ms",
               "fwd GF/s", "bwd GF/s", "matmul", "fwd/mm", "bwd/mm", "peak MiB");
  }
  bench_attention(options, [&](const AttentionBenchRow& row) {
    fmt::print("{}\n", arguments.json ? json_line(row) : table_line(row));
    std::fflush(stdout);
  });
  return kExitOk;
}

}  // namespace

void add_bench_attention_command(CLI::App& bench, Action& action) {
  CLI::App* attention =
      bench.add_subcommand("attention", "Causal attention, forward and backward, beside plain matrix products");
  auto arguments = std::make_shared<AttentionBenchArguments>();
  AttentionBenchOptions& options = arguments->attention;
  attention->add_option("--heads", options.heads, "Query heads")->check(CLI::PositiveNumber)->capture_default_str();
  attention->add_option("--kv-heads", options.kv_heads, "Key/value heads")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--head-dim", options.head_dim, "Size of a query/key head")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--value-dim", arguments->value_dim, "Size of a value head; 0: like --head-dim")
      ->check(CLI::NonNegativeNumber);
  attention->add_option("--tokens", options.tokens, "Lengths, comma-separated")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--documents", options.documents, "Documents packed into each length")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_option("--spread", arguments->spread, "Lengths of the documents: equal, or mixed over two decades")
      ->check(CLI::IsMember({"equal", "mixed"}))
      ->capture_default_str();
  attention->add_option("--op", options.op, "Name of the implementation to time [the one that would be chosen]");
  attention->add_option("--matrix-size", options.matrix_size, "Of the square products; 0: 1024 on CPUs, 8192 on GPUs")
      ->check(CLI::NonNegativeNumber);
  attention->add_option("--precision", arguments->precision, "fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  attention->add_option("--device", arguments->device, "cpu, cuda, or auto: a GPU where there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  attention->add_option("--threads", arguments->threads, "OpenMP threads; 0: all cores")->check(CLI::NonNegativeNumber);
  attention->add_option("--repetitions", options.repetitions, "Timed runs; the median counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  attention->add_flag("--json", arguments->json, "One JSON line a length instead of a table");
  attention->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace longspan
