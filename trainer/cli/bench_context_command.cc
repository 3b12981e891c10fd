// longspan bench context: times attention spread over ranks by each scheme, and counts what they send.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "parallel/context/planner.h"
#include "trainer/check/bench_context.h"
#include "trainer/check/build_info.h"
#include "trainer/check/trace_file.h"
#include "trainer/cli/commands.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"

namespace longspan {
namespace {

using Json = nlohmann::ordered_json;

enum class Mask : std::uint8_t { kCausal, kFull };
enum class Format : std::uint8_t { kTable, kJson };

struct ContextBenchArguments {
  std::vector<std::string> schemes;
  std::vector<int> ranks;
  std::vector<std::int64_t> tokens = {4096}, heads = {8}, documents;
  std::int64_t kv_heads = 0, head_dim = 64, value_dim = 0, window = 0;
  Mask mask = Mask::kCausal;
  Format format = Format::kTable;
  std::string precision = "fp32", overlap = "on", transfers = "sent", trace, device = "cpu";
  int threads = 0, repetitions = 5;
};

std::string_view name_of(Mask mask) {
  return mask == Mask::kCausal ? "causal" : "full";
}

// One batch a length, or the one packed from documents; as offsets.
std::vector<std::vector<std::int64_t>> batches_of(const ContextBenchArguments& arguments) {
  std::vector<std::vector<std::int64_t>> batches;
  if (arguments.documents.empty()) {
    for (const std::int64_t length : arguments.tokens) batches.push_back({0, length});
    return batches;
  }
  std::vector<std::int64_t>& offsets = batches.emplace_back(1, 0);
  for (const std::int64_t length : arguments.documents) offsets.push_back(offsets.back() + length);
  return batches;
}

// In the order of the rows.
std::vector<ContextBenchCase> cases_of(const ContextBenchArguments& arguments) {
  std::vector<ContextBenchCase> cases;
  for (const std::vector<std::int64_t>& batch : batches_of(arguments))
    for (const std::int64_t heads : arguments.heads)
      for (const std::string& scheme : arguments.schemes) {
        const std::int64_t kv_heads = arguments.kv_heads > 0 ? arguments.kv_heads : heads;
        LS_REQUIRE(kUsage, heads % kv_heads == 0, "--heads {} is no multiple of --kv-heads {}", heads, kv_heads);
        ContextBenchCase& next = cases.emplace_back();
        next.scheme = scheme;
        next.problem = {batch, heads, kv_heads, arguments.mask == Mask::kCausal, arguments.window};
        next.head_dim = arguments.head_dim;
        next.value_dim = arguments.value_dim > 0 ? arguments.value_dim : arguments.head_dim;
        next.dtype = arguments.precision == "bf16" ? DType::kBF16 : DType::kF32;
      }
  return cases;
}

double mib(const std::vector<std::int64_t>& by_rank) {
  return static_cast<double>(std::accumulate(by_rank.begin(), by_rank.end(), std::int64_t{0})) / (1 << 20);
}
double mib(std::int64_t num_bytes) {
  return static_cast<double>(num_bytes) / (1 << 20);
}

// Cells and their widths; the scheme and the direction stand to the left of their columns.
using Cells = std::vector<std::string>;
std::string table_line(const Cells& cells) {
  static constexpr int kWidths[] = {-10, 6, 9, 6, -9, 10, 10, 11, 11, 9, 9, 8, 7, 8, 8, 7, 7};
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i)
    line += kWidths[i] < 0 ? fmt::format("{:<{}}", cells[i], -kWidths[i]) : fmt::format("{:>{}}", cells[i], kWidths[i]);
  return line + "\n";
}

std::string table_head() {
  return table_line({"scheme", "ranks", "tokens", "heads", " ", "median ms", "least ms", "compute ms", "exposed ms",
                     "sent MiB", "plan MiB", "balance", "steps", "booked", "at once", "work x", "cpu x"});
}

std::string table_text(const ContextBenchRow& row) {
  const ContextProblem& problem = row.which.problem;
  const Cells what = {row.which.scheme, std::to_string(row.ranks), std::to_string(problem.num_tokens()),
                      std::to_string(problem.heads)};
  const auto line = [&](Cells more) {
    more.insert(more.begin(), what.begin(), what.end());
    return table_line(more);
  };
  if (!row.refusal.empty()) return line({fmt::format(" refused: {}", row.refusal)});
  const auto number = [](double value) { return fmt::format("{:.2f}", value); };
  const auto ratio = [](double value) { return fmt::format("{:.3f}", value); };
  const auto direction = [&](std::string_view name, const ContextBenchDirection& d) {
    return line({fmt::format(" {}", name), number(d.median_ms), number(d.least_ms), number(d.compute_ms),
                 number(d.exposed_ms), number(mib(d.bytes_sent)), number(mib(d.planned_bytes)),
                 ratio(d.balance_of_totals), ratio(d.balance_of_steps), number(mib(d.booked_buffer_bytes)),
                 number(mib(d.peak_buffer_bytes)), number(d.work_ratio), number(d.cpu_work_ratio)});
  };
  return direction("forward", row.forward) + direction("backward", row.backward);
}

Json json_of(const ContextBenchDirection& d) {
  return {{"median_ms", d.median_ms},
          {"least_ms", d.least_ms},
          {"compute_ms", d.compute_ms},
          {"exposed_ms", d.exposed_ms},
          {"work_ratio", d.work_ratio},
          {"cpu_work_ratio", d.cpu_work_ratio},
          {"bytes_sent", d.bytes_sent},
          {"planned_bytes", d.planned_bytes},
          {"balance_of_totals", d.balance_of_totals},
          {"balance_of_steps", d.balance_of_steps},
          {"booked_buffer_bytes", d.booked_buffer_bytes},
          {"peak_buffer_bytes", d.peak_buffer_bytes}};
}

// One world's pass over the cases. Rank 0 prints.
class ContextBenchRun {
 public:
  ContextBenchRun(Communicator& world, const ContextBenchArguments& arguments, KernelBaselines& baselines)
      : world_(world),
        arguments_(arguments),
        baselines_(baselines),
        device_(choose_device(arguments.device), place_of(world)),
        device_world_(world, device_) {
    options_.threads = threads_per_rank(arguments.threads, world);
    options_.repetitions = arguments.repetitions;
    options_.overlap = arguments.overlap == "on" ? Overlap::kUnderTasks : Overlap::kNone;
    options_.transfers = arguments.transfers == "sent" ? Transfers::kSent : Transfers::kFree;
  }

  void run(const std::vector<ContextBenchCase>& cases) {
    for (const ContextBenchCase& which : cases) {
      ContextTrace trace;
      const ContextBenchRow row = bench_context(
          {device_world_.comm(), baselines_, arguments_.trace.empty() ? nullptr : &trace, device_}, which, options_);
      if (world_.rank() == 0) {
        if (arguments_.format == Format::kJson)
          fmt::print("{}\n", json_line(row));
        else
          fmt::print("{}", table_text(row));
        std::fflush(stdout);
      }
      if (!arguments_.trace.empty() && row.refusal.empty()) write_trace_file(world_, trace, arguments_.trace);
    }
  }

 private:
  std::string json_line(const ContextBenchRow& row) const {
    const ContextBenchCase& which = row.which;
    std::vector<std::int64_t> lengths;
    for (std::size_t i = 1; i < which.problem.cu_seqlens.size(); ++i)
      lengths.push_back(which.problem.cu_seqlens[i] - which.problem.cu_seqlens[i - 1]);
    Json json{{"bench", "context"},
              {"commit", build_commit()},
              {"machine", machine_name()},
              {"device", device_.name()},
              {"backend", world_.backend()},
              {"scheme", which.scheme},
              {"ranks", row.ranks},
              {"threads", options_.threads},
              {"precision", longspan::name_of(which.dtype)},
              {"tokens", which.problem.num_tokens()},
              {"documents", lengths},
              {"heads", which.problem.heads},
              {"kv_heads", which.problem.kv_heads},
              {"head_dim", which.head_dim},
              {"value_dim", which.value_dim},
              {"mask", name_of(arguments_.mask)},
              {"window", which.problem.window},
              {"overlap", arguments_.overlap},
              {"transfers", arguments_.transfers},
              {"repetitions", options_.repetitions}};
    if (row.refusal.empty()) {
      json["plan_scheme"] = row.plan_scheme;
      json["forward"] = json_of(row.forward);
      json["backward"] = json_of(row.backward);
    } else {
      json["refusal"] = row.refusal;
    }
    return json.dump();
  }

  Communicator& world_;
  const ContextBenchArguments& arguments_;
  KernelBaselines& baselines_;
  RankDevice device_;
  DeviceWorld device_world_;
  ContextBenchOptions options_;
};

// Numbers of ranks to run with; 0: those of the launcher.
std::vector<int> worlds_of(const ContextBenchArguments& arguments) {
  if (!launched_by_mpi()) return arguments.ranks.empty() ? std::vector{1, 2, 4} : arguments.ranks;
  LS_REQUIRE(kUsage, arguments.ranks.size() <= 1,
             "--ranks {}: under a launcher its ranks are what there is; leave --ranks out",
             fmt::join(arguments.ranks, ","));
  return arguments.ranks.empty() ? std::vector{0} : arguments.ranks;
}

int run(const ContextBenchArguments& arguments) {
  const std::vector<ContextBenchCase> cases = cases_of(arguments);
  const std::vector<int> worlds = worlds_of(arguments);
  LS_REQUIRE(kUsage, arguments.trace.empty() || cases.size() * worlds.size() == 1,
             "--trace {}: a trace is of one row, this is {}; give one of --schemes, --ranks, --tokens and --heads",
             arguments.trace, cases.size() * worlds.size());
  KernelBaselines baselines;
  for (const int ranks : worlds) {
    const int failure = run_ranks(ranks, {}, [&](Communicator& world) {
      if (world.rank() == 0 && ranks == worlds.front() && arguments.format == Format::kTable) {
        fmt::print("{} attention, head size {}, {}, overlap {}, transfers {}, {} repetitions; {}\n",
                   name_of(arguments.mask), arguments.head_dim, arguments.precision, arguments.overlap,
                   arguments.transfers, arguments.repetitions, machine_name());
        fmt::print("{}", table_head());
      }
      ContextBenchRun(world, arguments, baselines).run(cases);
    });
    if (failure != kExitOk) return failure;
  }
  return kExitOk;
}

void add_problem_options(CLI::App& command, ContextBenchArguments& arguments) {
  command.add_option("--tokens", arguments.tokens, "Lengths of one document, comma-separated")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--documents", arguments.documents,
                  "Instead of --tokens: lengths of the documents of one packed sequence, as in 700,1,0,3000")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->excludes("--tokens");
  command.add_option("--heads", arguments.heads, "Query heads, comma-separated")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--kv-heads", arguments.kv_heads, "Key/value heads; 0: like --heads")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--head-dim", arguments.head_dim, "Size of a query/key head")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--value-dim", arguments.value_dim, "Size of a value head; 0: like --head-dim")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--window", arguments.window, "Keys that a query sees, its own included; 0: all before it")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_flag_callback(
      "--full", [&arguments] { arguments.mask = Mask::kFull; }, "A full mask, not a causal one");
  command.add_option("--precision", arguments.precision, "fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
}

}  // namespace

void add_bench_context_command(CLI::App& bench, Action& action) {
  CLI::App* command = bench.add_subcommand(
      "context", "Attention over ranks by each context-parallel scheme: times, waiting, bytes beside the plan's");
  auto arguments = std::make_shared<ContextBenchArguments>();
  for (const ContextPlanner* planner : context_planners()) arguments->schemes.emplace_back(planner->name());
  command->add_option("--schemes", arguments->schemes, "Context-parallel schemes, comma-separated")
      ->delimiter(',')
      ->check(CLI::IsMember(context_scheme_names()))
      ->capture_default_str();
  command
      ->add_option("--ranks", arguments->ranks,
                   "Numbers of ranks, as threads, comma-separated [1,2,4] (under MPI: its ranks)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  add_problem_options(*command, *arguments);
  command->add_option("--device", arguments->device, "cpu, cuda, or auto")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command->add_option("--threads", arguments->threads, "OpenMP threads a rank; 0: cores / ranks")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--repetitions", arguments->repetitions, "Timed runs, after one that is not")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--overlap", arguments->overlap, "off: each step's transfers are waited for before its tasks run")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  command
      ->add_option("--transfers", arguments->transfers,
                   "free: nothing is sent and results mean nothing, to see what communication costs")
      ->check(CLI::IsMember({"sent", "free"}))
      ->capture_default_str();
  command->add_option("--trace", arguments->trace,
                      "Write the last repetition of all ranks here, for ui.perfetto.dev or chrome://tracing");
  command->add_flag_callback(
      "--json", [&format = arguments->format] { format = Format::kJson; }, "One JSON line a row instead of a table");
  command->callback([arguments, &action] { action = [arguments] { return run(*arguments); }; });
}

}  // namespace longspan
