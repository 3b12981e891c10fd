// longspan check: golden attention cases, run over any number of ranks and judged.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "trainer/check/check_runner.h"
#include "trainer/cli/commands.h"
#include "trainer/launch/launch.h"
#include "trainer/launch/rank_device.h"

namespace longspan {
namespace {

struct CheckArguments {
  std::vector<std::string> paths;
  int ranks = 0;
  int threads = 0;
  std::string scheme = "striped";
  std::string precision = "fp32";
  std::string device = "cpu";
};

// What became of one case, the graver the greater; the same on every rank.
enum class Outcome : std::int32_t { kPass, kNotBuilt, kUnreadable, kFail };

// One rank's pass over the cases. Rank 0 prints.
class CheckRun {
 public:
  CheckRun(Communicator& world, const CheckArguments& arguments)
      : world_(world),
        arguments_(arguments),
        device_(choose_device(arguments.device), place_of(world)),
        device_world_(world, device_) {
    options_.scheme = arguments.scheme;
    options_.precision = arguments.precision == "bf16" ? DType::kBF16 : DType::kF32;
    options_.num_threads = threads_per_rank(arguments.threads, world);
  }

  ExitCode run() {
    for (const std::string& path : arguments_.paths) ++counts_[static_cast<int>(run_case(path))];
    const auto count = [&](Outcome outcome) { return counts_[static_cast<int>(outcome)]; };
    print("{} cases: {} pass, {} fail, {} not built, {} unreadable\n", arguments_.paths.size(), count(Outcome::kPass),
          count(Outcome::kFail), count(Outcome::kNotBuilt), count(Outcome::kUnreadable));
    if (count(Outcome::kFail) > 0) return kExitCheckFailed;
    if (count(Outcome::kUnreadable) > 0) return kExitData;
    if (count(Outcome::kNotBuilt) > 0) return kExitUnsupported;
    return kExitOk;
  }

 private:
  Outcome run_case(const std::string& path) {
    AttentionCase c;
    if (const Outcome read = agree(read_case(path, c)); read != Outcome::kPass) return read;
    print("{}: {} ranks, {}, {}, {}\n", path, world_.size(), options_.scheme, arguments_.precision, device_.name());
    const AttentionResult result = run_attention_case(device_world_.comm(), device_, c, options_);
    Outcome outcome = Outcome::kPass;
    if (world_.rank() == 0) {
      const std::vector<TensorVerdict> verdicts = judge(c, options_.precision, result);
      if (!all_pass(verdicts)) outcome = Outcome::kFail;
      print("{}", table_of(verdicts));
    }
    return agree(outcome);
  }

  // A rank that cannot read what another reads (another host, say) must not leave it waiting: all take the gravest.
  Outcome agree(Outcome mine) {
    auto code = static_cast<std::int32_t>(mine);
    world_.all_reduce(Tensor(&code, DType::kI32, {1}), ReduceOp::kMax);
    return static_cast<Outcome>(code);
  }

  Outcome read_case(const std::string& path, AttentionCase& c) {
    try {
      c = read_attention_case(path);
      return Outcome::kPass;
    } catch (const Error& error) {
      print("{}\n", error.what());
      if (error.kind() == ErrorKind::kUnsupported) return Outcome::kNotBuilt;
      if (error.kind() == ErrorKind::kData) return Outcome::kUnreadable;
      throw;
    }
  }

  template <class... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    if (world_.rank() != 0) return;
    fmt::print(format, std::forward<Args>(args)...);
    std::fflush(stdout);
  }

  Communicator& world_;
  const CheckArguments& arguments_;
  RankDevice device_;
  DeviceWorld device_world_;
  CheckOptions options_;
  int counts_[4] = {};
};

int check(const CheckArguments& arguments) {
  ExitCode verdict = kExitOk;
  const int failure = run_ranks(arguments.ranks, {}, [&](Communicator& world) {
    const ExitCode mine = CheckRun(world, arguments).run();
    if (world.rank() == 0 || launched_by_mpi()) verdict = mine;
  });
  return failure != kExitOk ? failure : verdict;
}

}  // namespace

void add_check_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("check", "Run golden attention cases and compare with what they expect");
  auto arguments = std::make_shared<CheckArguments>();
  command->add_option("cases", arguments->paths, "Case files (HDF5)")->required();
  command->add_option("--ranks", arguments->ranks, "Ranks to shard each case over, as threads (under MPI: its ranks)")
      ->check(CLI::Range(1, 1024));
  command->add_option("--threads", arguments->threads, "OpenMP threads a rank; 0: cores / ranks")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--scheme", arguments->scheme, "Context-parallel scheme")->capture_default_str();
  command->add_option("--precision", arguments->precision, "fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  command->add_option("--device", arguments->device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command->callback([arguments, &action] { action = [arguments] { return check(*arguments); }; });
}

}  // namespace longspan
